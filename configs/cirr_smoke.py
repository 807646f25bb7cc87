# Smoke preset, for tests and a first look (under 40 s):
#   python tools/train.py configs/cirr_smoke.py
_base_ = "cirr_gated.py"
max_epochs = 2
log_interval = 5
checkpoint_interval = 10
batch_size = 32
prepare = dict(
    vision_scenes=dict(
        root="data/scenes_smoke",
        num_train_images=400,
        num_train_queries=320,
        num_val_images=100,
        num_val_queries=100,
        num_test_queries=20,
    ),
    vision_training=dict(steps=30),
)
