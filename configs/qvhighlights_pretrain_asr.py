# QD-DETR pre-trained on spoken words (ASR lines as queries), without audio; needs subs_train.jsonl in data_root:
#   python tools/train.py configs/qvhighlights_pretrain_asr.py
_base_ = "qvhighlights_video_only.py"
embedded = None  # its queries are no speech
batch_size = 256
max_epochs = 100
train_dataloader = dict(dataset=dict(split="subs_train"))
