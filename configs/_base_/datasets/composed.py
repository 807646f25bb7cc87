# What CIRR and FashionIQ share: transform, frozen features, loaders, and the embedded set that stands in.
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
_data = dict(data_root="${data_root}", transform="${transform}", features=None)
_loader = dict(num_workers="${num_workers}", collate_fn=dict(type="gatefuse.identity_collate"))
_train_loader = dict(
    batch_size="${batch_size}",
    drop_last=True,
    sampler=dict(type="ClusterSampler", batch_size="${batch_size}", group_size="${group_size}"),
    **_loader,
)
_val_loader = dict(batch_size=256, drop_last=False, sampler=dict(type="DefaultSampler", shuffle=False), **_loader)
