"""Training machinery on top of mmengine's Runner: loop, hooks, exact resume, preparation of data and features."""
