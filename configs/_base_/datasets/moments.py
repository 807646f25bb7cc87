# What QVHighlights and TVSum share: features by folder, and `profile`, which picks sizes and schedule that fit the real
# set or the embedded one (auto: by what data_root holds).
profile = "auto"
video_features = "auto"
text_features = "auto"
audio_features = "auto"
packed = None
missing_audio = "error"
batch_size = "${profiles.${profile}.batch_size}"
num_workers = 0
submission_file = None
_features = dict(
    data_root="${data_root}",
    video_features="${video_features}",
    text_features="${text_features}",
    audio_features="${audio_features}",
    packed="${packed}",
    max_v_l="${max_v_l}",
    max_q_l="${max_q_l}",
    clip_length="${clip_length}",
    missing_audio="${missing_audio}",
)
