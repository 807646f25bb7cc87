"""``report.html``: one self-contained page. Python gathers plain JSON, the page's own script draws it."""
