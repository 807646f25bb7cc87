# MSR-VTT (Xu et al., CVPR 2016), 9k/1k-A split, in `data_root`; where it is absent, embedded clips with sound in its
# layout. Best epochs are chosen on `val_videos` held out of the 9k, never on 1k-A. `profile` picks sizes and schedule
# that fit the real set or the embedded one (auto: by what data_root holds); the real ones are AVIGATE's.
dataset = "msrvtt"
data_root = "data/msrvtt"
embedded = dict(root="data/clips_msrvtt", num_train_videos=700, num_test_videos=200, captions_per_video=5, seed=0)
profile = "auto"
weights = dict(clip="weights/clip-vit-base-patch32", ast="weights/ast-finetuned-audioset-10-10-0.4593")
_slow = dict(lr_mult=1e-3)  # upstream's coef_lr
profiles = dict(
    auto="${profiles.embedded}",
    real=dict(
        num_frames=12,
        frame_size=224,
        sample_rate=16000,
        num_mel_bins=128,
        audio_length=1024,
        frame_shift=None,
        audio_mean=-5.118,
        audio_std=3.2527153,
        keep_in_memory=False,
        val_videos=500,
        width=512,
        num_heads=8,
        num_query_tokens=12,
        resampler_layers=4,
        fusion_layers=4,
        max_frames=77,
        fusion_mix=0.05,
        frame_encoder=dict(type="CLIPFrameEncoder", weights="${weights.clip}"),
        text_encoder=dict(type="CLIPTextEncoder", vocabulary="${weights.clip}", weights="${weights.clip}"),
        audio_encoder=dict(type="ASTAudioEncoder", weights="${weights.ast}"),
        frozen=[
            "frame_encoder.model.vision_model.embeddings.**",
            "frame_encoder.model.vision_model.pre_layrnorm.*",
            "text_encoder.model.text_model.embeddings.**",
            "audio_encoder.model.embeddings.**",
            "audio_encoder.model.encoder.**",
        ],
        batch_size=128,
        num_workers=8,
        lr=1e-4,
        weight_decay=0.2,
        paramwise=dict(
            bias_decay_mult=0.0,
            custom_keys={
                "frame_encoder": _slow,
                "text_encoder": _slow,
                "audio_encoder.model": _slow,
                "clip.logit_scale": _slow,
                "query_tokens": dict(lr_mult=100.0),
            },
        ),
        warmup_epochs=0.5,
        max_epochs=5,
        log_interval=100,
    ),
    embedded=dict(
        num_frames=6,
        frame_size=32,
        sample_rate=8000,
        num_mel_bins=32,
        audio_length=100,
        frame_shift=10.0,
        audio_mean=-4.2677393,
        audio_std=4.5689974,
        keep_in_memory=True,
        val_videos=100,
        width=64,
        num_heads=4,
        num_query_tokens=4,
        resampler_layers=1,
        fusion_layers=2,
        max_frames=12,
        fusion_mix=0.5,
        frame_encoder=dict(type="TinyFrameEncoder", patch_size=16),
        text_encoder=dict(type="TinyTextEncoder"),
        audio_encoder=dict(type="TinyAudioEncoder"),
        frozen=[],
        batch_size=64,
        num_workers=0,
        lr=2e-3,
        weight_decay=0.01,
        # gates start at tanh(0); within 8 epochs they open no further than a faster rate takes them
        # by name, not gate_lr_mult: query gate and decay keep the common rate
        paramwise=dict(custom_keys=dict(attn_gate=dict(lr_mult=10.0), ff_gate=dict(lr_mult=10.0))),
        warmup_epochs=1.0,
        max_epochs=8,
        log_interval=20,
    ),
)
features = dict(root="data/features_msrvtt", encoders=[], dtype="float16")  # encoders=["audio_encoder"]: frozen, stored
val_videos = "${profiles.${profile}.val_videos}"
batch_size = "${profiles.${profile}.batch_size}"
num_workers = "${profiles.${profile}.num_workers}"
_data = dict(
    type="MSRVTTDataset",
    data_root="${data_root}",
    val_videos="${val_videos}",
    num_frames="${profiles.${profile}.num_frames}",
    frame_size="${profiles.${profile}.frame_size}",
    sample_rate="${profiles.${profile}.sample_rate}",
    num_mel_bins="${profiles.${profile}.num_mel_bins}",
    audio_length="${profiles.${profile}.audio_length}",
    frame_shift="${profiles.${profile}.frame_shift}",
    audio_mean="${profiles.${profile}.audio_mean}",
    audio_std="${profiles.${profile}.audio_std}",
    keep_in_memory="${profiles.${profile}.keep_in_memory}",
)
_loader = dict(num_workers="${num_workers}", collate_fn=dict(type="gatefuse.identity_collate"))
_evaluation = dict(batch_size=64, drop_last=False, sampler=dict(type="DefaultSampler", shuffle=False), **_loader)
train_dataloader = dict(
    batch_size="${batch_size}",
    drop_last=True,
    sampler=dict(type="ClusterSampler", batch_size="${batch_size}"),
    dataset=dict(split="train", role="train", **_data),
    **_loader,
)
val_dataloader = dict(dataset=dict(split="val", role="eval", **_data), **_evaluation)
test_dataloader = dict(dataset=dict(split="test", role="eval", **_data), **_evaluation)
val_evaluator = dict(type="MSRVTTMetric", rerank=None)
test_evaluator = val_evaluator
save_best = "msrvtt/mean"
