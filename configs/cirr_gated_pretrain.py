# Full scale: EVA ViT-g, BLIP-2 weights, real CIRR, mixed precision on CUDA (SPRC's schedule: 50 of 80 epochs).
#   python tools/train.py configs/cirr_gated_pretrain.py --amp --cfg-options data_root=/path/to/cirr_dataset
_base_ = "cirr_gated.py"
backbone = "pretrain"
embedded = None
lr = 1e-5
max_epochs = 50
schedule_epochs = 80
pct_start = 0.02
group_size = 1
num_workers = 4
