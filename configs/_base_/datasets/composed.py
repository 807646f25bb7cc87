# What CIRR and FashionIQ share: transform, frozen features, and the embedded set that stands in.
transform = [
    dict(type="TargetPad", target_ratio="${target_ratio}"),
    dict(type="ClipPreprocess", size="${image_size}"),
]
target_ratio = 1.25
batch_size = 128
num_workers = 0
group_size = 8
features = dict(enabled=True, root="data/features", dtype="float16", batch_size=64, num_workers=0)
prepare = dict(
    vision_scenes=dict(root="data/scenes_cirr", num_train_images=8000, num_train_queries=12000),
    vision_training=dict(steps=300, batch_size=128, lr=1e-3, seed=0),
)
