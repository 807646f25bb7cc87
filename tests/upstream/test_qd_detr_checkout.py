"""QD-DETR's own scripts, patched, on the CPU.

GATEFUSE_QD_DETR=/path/to/QD-DETR pytest tests/upstream/test_qd_detr_checkout.py
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from moment_set import AUDIO, TEXT, VIDEO, write_moment_set
from real_checkouts import ROOT, copy_checkout, patch_sets, run_script

from gatefuse_plugins.checkpoints.loading import load_into
from gatefuse_plugins.checkpoints.reader import read_checkpoint
from gatefuse_plugins.hosts.qd_detr import QDDETR
from gatefuse_plugins.recording.jsonlines import read_gate_log
from gatefuse_plugins.upstream.changes import apply, revert

FUSION = {"type": "AvigateCustomFusion", "fusion_layers": 2, "gating_type": "elementwise"}
SIZES = {"hidden_dim": 256, "nheads": 8, "enc_layers": 1, "dec_layers": 2}
COMMON = [
    *("--dset_name", "hl", "--ctx_mode", "video_tef", "--eval_split_name", "val", "--exp_id", "test"),
    *("--device", "-1", "--num_workers", "0", "--no_pin_memory", "--results_root", "out"),
    *("--bsz", "8", "--enc_layers", "1", "--dec_layers", "2"),
]
OUTPUTS = ("pred_logits", "pred_spans", "saliency_scores", "saliency_scores_neg")
DUMP = """
import sys, argparse, numpy, torch
from qd_detr.model import build_model
torch.serialization.add_safe_globals([argparse.Namespace])
checkpoint = torch.load(sys.argv[1], weights_only=True)
model, _ = build_model(checkpoint["opt"])
model.load_state_dict(checkpoint["model"])
batch = {name: torch.from_numpy(value) for name, value in numpy.load(sys.argv[2]).items()}
with torch.no_grad():
    outputs = model.eval()(**batch)
numpy.savez(sys.argv[3], **{name: outputs[name].numpy() for name in sys.argv[4:]})
"""


def flags(settings: dict[str, str]) -> list[str]:
    return [word for name, value in settings.items() for word in (f"--{name}", value)]


def test_without_flags_training_is_bit_for_bit_the_same(tmp_path: Path) -> None:
    settings, weights, records = write_moment_set(tmp_path / "set"), [], []
    for plugin, importable in ((False, True), (True, True), (True, False)):
        checkout = copy_checkout("qd_detr", tmp_path / f"{plugin}{importable}")
        apply(checkout, patch_sets(), ["cpu"], plugin=plugin)
        words = [*flags(settings), *COMMON, "--n_epoch", "1", "--lr_drop", "1", "--debug"]
        run_script(checkout, "qd_detr/train.py", *words, without_plugin=not importable)
        (folder,) = (checkout / "debug_results").iterdir()
        weights.append(read_checkpoint(folder / "model_e0000.ckpt").state_dict)
        records.append(json.loads((folder / "opt.json").read_text()) | {"results_dir": ""})
    assert records[0] == records[1] == records[2]
    for other in weights[1:]:
        assert weights[0].keys() == other.keys()
        assert all(torch.equal(value, other[name]) for name, value in weights[0].items())


def test_train_infer_record_and_migrate(tmp_path: Path) -> None:
    checkout = copy_checkout("qd_detr", tmp_path)
    apply(checkout, patch_sets(), ["cpu", "load"])
    settings = write_moment_set(tmp_path / "set")
    (tmp_path / "fusion.json").write_text(json.dumps({"fusion": FUSION}))
    words = [*flags(settings), *COMMON, "--fusion_cfg", str(tmp_path / "fusion.json"), "--mha_gate_temp", "2.0"]
    # evaluated before training: the script reads a best checkpoint when it ends, and else evaluates every 5 epochs
    run_script(checkout, "qd_detr/train.py", *words, "--n_epoch", "2", "--lr_drop", "2", "--eval_untrained")
    (folder,) = (checkout / "out").iterdir()
    assert (folder / "train.log.txt").read_text().count("[Epoch]") == 2
    trained = folder / "model_e0001.ckpt"
    start = read_checkpoint(folder / "model_e-001.ckpt").state_dict
    moved = [name for name, value in read_checkpoint(trained).state_dict.items() if not torch.equal(value, start[name])]
    assert any(name.startswith("fusion.") for name in moved)

    run_script(checkout, "qd_detr/inference.py", "--gate_log", *_inference(trained, settings))
    entries = list(read_gate_log(folder / "gate_logs_val_Nall.jsonl"))
    assert [entry.qid for entry in entries] == list(range(40))
    lengths = [json.loads(line)["duration"] // 2 for line in Path(settings["eval_path"]).read_text().splitlines()]
    assert [entry.layer_gates[1]["gate_mha"].shape for entry in entries] == [(length, 256) for length in lengths]
    assert len((folder / "hl_val_submission.jsonl").read_text().splitlines()) == 40

    migrated = _migrate(tmp_path, trained)
    batch, masks = _batch(tmp_path)
    plain = _outputs(checkout, tmp_path, trained)
    _assert_equal(_host(migrated, "upstream"), batch, masks, plain)
    apply(checkout, patch_sets(), ["mask"])
    mended = _outputs(checkout, tmp_path, trained)
    _assert_equal(_host(migrated, None), batch, masks, mended)
    assert np.abs(mended["pred_logits"] - plain["pred_logits"]).max() > 1e-3
    revert(checkout, patch_sets())
    with pytest.raises(AssertionError, match="size mismatch for input_vid_proj"):
        _outputs(checkout, tmp_path, trained)


def _inference(checkpoint: Path, settings: dict[str, str]) -> list[str]:
    return ["--resume", str(checkpoint), "--eval_split_name", "val", "--eval_path", settings["eval_path"]]


def _migrate(folder: Path, checkpoint: Path) -> Path:
    model = {"type": "QDDETR", "compat": "upstream", "fusion": FUSION | {"mha_gate_temp": 2.0}, **SIZES, **_widths()}
    config, out = folder / "config.py", folder / "migrated.safetensors"
    config.write_text(f"default_scope = 'gatefuse'\nmodel = {model!r}\n")
    words = ["tools/migrate.py", "run", str(checkpoint), "--config", str(config), "--out", str(out)]
    done = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "equal in float32" in done.stdout
    return out


def _widths() -> dict[str, int]:
    return {"video_dim": VIDEO + 2, "text_dim": TEXT, "audio_dim": AUDIO + 2}


def _host(weights: Path, compat: str | None) -> QDDETR:
    host = QDDETR(**_widths(), fusion=FUSION | {"mha_gate_temp": 2.0}, compat=compat, **SIZES)
    load_into(host, read_checkpoint(weights))
    return host.eval()


def _batch(folder: Path) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Streams and masks (1 = valid) of three samples, no two alike in length; written for the checkout's script."""
    generator = torch.Generator().manual_seed(0)
    clips, words = torch.tensor([12, 7, 9]), torch.tensor([4, 6, 3])
    masks = {"vid": torch.arange(12) < clips[:, None], "txt": torch.arange(6) < words[:, None]}
    masks["aud"] = masks["vid"]
    widths = {"vid": VIDEO + 2, "txt": TEXT, "aud": AUDIO + 2}
    batch = {
        name: torch.randn(*mask.shape, widths[name], generator=generator) * mask[..., None]
        for name, mask in masks.items()
    }
    arrays = {f"src_{name}": value.numpy() for name, value in batch.items()}
    np.savez(
        folder / "batch.npz", **arrays, **{f"src_{name}_mask": mask.float().numpy() for name, mask in masks.items()}
    )
    return batch, masks


def _outputs(checkout: Path, folder: Path, checkpoint: Path) -> dict[str, np.ndarray]:
    words = [str(checkpoint), str(folder / "batch.npz"), str(folder / "outputs.npz"), *OUTPUTS]
    run_script(checkout, "-c", DUMP, *words)
    with np.load(folder / "outputs.npz") as arrays:
        return dict(arrays)


def _assert_equal(host: QDDETR, batch: dict, masks: dict, expected: dict[str, np.ndarray]) -> None:
    streams = {"video": "vid", "text": "txt", "audio": "aud"}
    inputs = {ours: batch[name] for ours, name in streams.items()}
    inputs |= {f"{ours}_mask": masks[name] for ours, name in streams.items()}
    with torch.no_grad():
        outputs = host(mode="tensor", return_negatives=True, **inputs)
    for name in OUTPUTS:
        keep = masks["vid"].numpy() if name.startswith("saliency") else slice(None)
        np.testing.assert_allclose(
            outputs[name].numpy()[keep], expected[name][keep], rtol=1e-4, atol=1e-5, err_msg=name
        )
