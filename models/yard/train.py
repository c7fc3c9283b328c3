"""Trains the yard's detector on pictures of the synthetic yard, from nothing or from an earlier one, and exports it.

Run from the repository's root with an environment that holds Ultralytics (AGPL-3.0, and so is what it trains):

    python models/yard/train.py --minutes 50 --out yard.onnx

The network, the loss, the weights' running mean and the export are Ultralytics'; the loop is our own, so that it can
stop by the clock and so that the two cores it was made on spend their time on the network and not on loading pictures.
"""

# ruff: noqa: E402, T201, S311 - paths and settings must be set before Ultralytics is imported; a script prints

from __future__ import annotations

import argparse
import math
import multiprocessing
import os
import random
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path

os.environ.setdefault("YOLO_CONFIG_DIR", tempfile.mkdtemp(prefix="yolo-"))
# Two threads that spin while they wait for one another cost 317 ms of CPU per picture on a busy machine; one costs 37.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ["YOLO_AUTOINSTALL"] = "false"
os.environ["YOLO_OFFLINE"] = "true"
sys.path[:0] = [str(Path(__file__).resolve().parents[2]), str(Path(__file__).resolve().parent)]

import cv2
import numpy as np
import onnx
import torch
from pictures import HEIGHT, LABELS, WIDTH, Shot, shoot
from ultralytics import YOLO
from ultralytics.cfg import get_cfg
from ultralytics.utils.torch_utils import ModelEMA

PER_CAMERA = 4
NETWORK = """
nc: {classes}
scales:
  n: [0.33, {width}, 512]
backbone:
  - [-1, 1, Conv, [64, 3, 2]]
  - [-1, 1, Conv, [128, 3, 2]]
  - [-1, 3, C2f, [128, True]]
  - [-1, 1, Conv, [256, 3, 2]]
  - [-1, 6, C2f, [256, True]]
  - [-1, 1, Conv, [512, 3, 2]]
  - [-1, 6, C2f, [512, True]]
  - [-1, 1, Conv, [1024, 3, 2]]
  - [-1, 3, C2f, [1024, True]]
  - [-1, 1, SPPF, [1024, 5]]
head:
  - [-1, 1, nn.Upsample, [None, 2, "nearest"]]
  - [[-1, 6], 1, Concat, [1]]
  - [-1, 3, C2f, [512]]
  - [-1, 1, nn.Upsample, [None, 2, "nearest"]]
  - [[-1, 4], 1, Concat, [1]]
  - [-1, 3, C2f, [256]]
  - [-1, 1, Conv, [256, 3, 2]]
  - [[-1, 12], 1, Concat, [1]]
  - [-1, 3, C2f, [512]]
  - [-1, 1, Conv, [512, 3, 2]]
  - [[-1, 9], 1, Concat, [1]]
  - [-1, 3, C2f, [1024]]
  - [[15, 18, 21], 1, Detect, [nc]]
"""


def vary(shot: Shot, draw: random.Random) -> Shot:
    """Flips, zooms, moves and recolours a picture, with its boxes."""
    picture, boxes = shot.picture, shot.boxes.copy()
    if draw.random() < 0.6:
        zoom = draw.uniform(0.75, 1.35)
        right = (WIDTH * (1 - zoom)) * draw.random() + draw.uniform(-15, 15)
        down = (HEIGHT * (1 - zoom)) * draw.random() + draw.uniform(-10, 10)
        move = np.array([[zoom, 0, right], [0, zoom, down]], np.float32)
        picture = cv2.warpAffine(picture, move, (WIDTH, HEIGHT), borderValue=(114, 114, 114))
        boxes[:, 1:] = boxes[:, 1:] * zoom + (right, down, right, down)
        whole = (boxes[:, 3] - boxes[:, 1]) * (boxes[:, 4] - boxes[:, 2])
        boxes[:, [1, 3]] = boxes[:, [1, 3]].clip(0, WIDTH)
        boxes[:, [2, 4]] = boxes[:, [2, 4]].clip(0, HEIGHT)
        wide, high = boxes[:, 3] - boxes[:, 1], boxes[:, 4] - boxes[:, 2]
        boxes = boxes[(wide > 3) & (high > 3) & (wide * high > 0.3 * whole)]
    if draw.random() < 0.5:
        picture = picture[:, ::-1]
        boxes[:, [1, 3]] = WIDTH - boxes[:, [3, 1]]
    if draw.random() < 0.5:
        gains = [draw.uniform(0.75, 1.25) * draw.uniform(0.92, 1.08) for _ in range(3)]
        table = np.clip(np.arange(256)[:, None] * np.array(gains) + draw.uniform(-12, 12), 0, 255).astype(np.uint8)
        picture = np.stack([table[:, channel][picture[:, :, channel]] for channel in range(3)], axis=2)
    return Shot(np.ascontiguousarray(picture), boxes)


def gather(shots: list[Shot], device: torch.device) -> dict[str, torch.Tensor]:
    """A batch as Ultralytics' loss takes it: RGB 0-1, boxes as centre and size in fractions."""
    pictures = np.stack([shot.picture for shot in shots])[:, :, :, ::-1].transpose(0, 3, 1, 2)
    boxes = np.concatenate([shot.boxes for shot in shots])
    owner = np.concatenate([np.full(len(shot.boxes), place) for place, shot in enumerate(shots)])
    x1, y1, x2, y2 = boxes[:, 1:].T / np.array([[WIDTH], [HEIGHT], [WIDTH], [HEIGHT]], np.float32)
    middles = np.stack([(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1], axis=1)
    images = torch.from_numpy(np.ascontiguousarray(pictures)).to(device).float() / 255
    return {
        "img": images.contiguous(memory_format=torch.channels_last),
        "cls": torch.from_numpy(boxes[:, :1].copy()).to(device),
        "bboxes": torch.from_numpy(middles.astype(np.float32)).to(device),
        "batch_idx": torch.from_numpy(owner.astype(np.float32)).to(device),
    }


def in_full(value: object) -> object:
    """A tensor, or a list of tensors, in full precision."""
    return [in_full(one) for one in value] if isinstance(value, list | tuple) else value.float()


def collect(pool: multiprocessing.pool.Pool, seed: int, images: int, shots: list[Shot]) -> None:
    """Fills `shots` while the training already runs."""
    tasks = [(seed, f"train-{number}", PER_CAMERA) for number in range(math.ceil(images / PER_CAMERA))]
    for some in pool.imap_unordered(shoot, tasks):
        shots.extend(some)


def take_up(model: torch.nn.Module, path: Path) -> None:
    """Gives the network the weights of an exported one, which holds its batch normalisation folded into convolutions.

    Trained on like that: without the normalisation the rate must be lower (3e-4 was right, 2e-3 is for a new network).
    """
    weights = {tensor.name: torch.from_numpy(onnx.numpy_helper.to_array(tensor).copy())
               for tensor in onnx.load(path).graph.initializer}  # fmt: skip
    model.fuse(verbose=False)
    model.load_state_dict({name: weights.get(name, value) for name, value in model.state_dict().items()})
    missing = model.state_dict().keys() - weights.keys()
    if missing:
        raise SystemExit(f"{path} holds another network: it lacks {sorted(missing)[:3]} and {len(missing)} in all")


def export(model: torch.nn.Module, network: str, out: Path) -> None:
    """Writes the ONNX file: opset 17, any number of pictures, names in its metadata as Ultralytics writes them."""
    with tempfile.TemporaryDirectory() as folder:
        description = Path(folder, "yard-n.yaml")
        description.write_text(network)
        yolo = YOLO(str(description), task="detect")
        if model.is_fused():
            yolo.model.fuse(verbose=False)
        yolo.model.load_state_dict(model.state_dict())
        yolo.model.names = dict(enumerate(LABELS))
        yolo.ckpt_path = str(Path(folder, "yard.pt"))
        yolo.model.pt_path = str(Path(folder, "yard.pt"))
        path = yolo.export(format="onnx", imgsz=[HEIGHT, WIDTH], opset=17, dynamic=True, simplify=False, device="cpu")
        graph = onnx.load(path)
        for place, size in ((2, HEIGHT), (3, WIDTH)):  # only the batch stays open
            graph.graph.input[0].type.tensor_type.shape.dim[place].dim_value = size
        onnx.checker.check_model(graph)
        for entry in graph.metadata_props:
            # The date would give the same weights another SHA-256, and the description names a temporary folder.
            entry.value = {"date": "", "description": "yard"}.get(entry.key, entry.value)
        onnx.save(graph, path)
        out.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(path, out)


def train(options: argparse.Namespace) -> None:
    """Renders, trains until the epochs or the minutes are over, and exports the weights' running mean."""
    torch.manual_seed(options.seed)
    draw = random.Random(options.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(1)
    network = NETWORK.format(classes=len(LABELS), width=options.width)
    with tempfile.TemporaryDirectory() as folder:
        description = Path(folder, "yard-n.yaml")
        description.write_text(network)
        model = YOLO(str(description), task="detect").model
    model.args = get_cfg()
    model.names = dict(enumerate(LABELS))
    if options.take_up:
        take_up(model, options.take_up)
    model = model.to(device).to(memory_format=torch.channels_last)
    for parameter in model.parameters():
        parameter.requires_grad = True
    model.model[-1].dfl.conv.weight.requires_grad = False
    if options.resume:
        model.load_state_dict(torch.load(options.resume, weights_only=True, map_location=device))
    shots: list[Shot] = []
    pool = multiprocessing.get_context("spawn").Pool(options.painters)
    painter = threading.Thread(target=collect, args=(pool, options.seed, options.images, shots), daemon=True)
    painter.start()
    started = time.monotonic()
    while len(shots) < min(options.images, options.first) and painter.is_alive():
        time.sleep(1)
    print(f"{len(shots)} pictures after {time.monotonic() - started:.0f} s", flush=True)

    plain = [p for name, p in model.named_parameters() if p.requires_grad and p.ndim <= 1]
    decayed = [p for name, p in model.named_parameters() if p.requires_grad and p.ndim > 1]
    optimizer = torch.optim.AdamW([{"params": plain, "weight_decay": 0.0}, {"params": decayed}], lr=options.rate,
                                  betas=(0.9, 0.999), weight_decay=5e-4)  # fmt: skip
    mean = ModelEMA(model, decay=0.999, tau=300)
    total = options.epochs * options.images // options.batch
    begun, told, saved = time.monotonic(), 0.0, time.monotonic()
    step, sums = 0, np.zeros(3)
    model.train()
    queue: list[int] = []
    while True:
        spent = (time.monotonic() - begun) / 60
        share = max(step / total, spent / options.minutes if options.minutes else 0.0)
        if share >= 1.0:
            break
        while len(queue) < options.batch:
            order = list(range(len(shots)))
            draw.shuffle(order)
            # New pictures arrive while the first ones are looked at: short rounds until all are there.
            queue.extend(order if not painter.is_alive() else order[: len(order) // 2])
        chosen, queue = queue[: options.batch], queue[options.batch :]
        rate = options.rate * min(1.0, (step + 1) / 100) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * share)))
        for group in optimizer.param_groups:
            group["lr"] = rate
        batch = gather([vary(shots[place], draw) for place in chosen], device)
        # bfloat16 made the step 1.5 times as fast on the CPU it was trained on; the loss stays in full precision.
        with torch.autocast(device.type, torch.bfloat16, enabled=options.bfloat16):
            answer = model(batch["img"])
        loss, parts = model.loss(batch, {name: in_full(value) for name, value in answer.items()})
        optimizer.zero_grad(set_to_none=True)
        loss.sum().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        optimizer.step()
        mean.update(model)
        step += 1
        sums += [float(part) for part in parts.values()][:3]
        if step % 50 == 0:
            pace = (time.monotonic() - begun - told) / 50 / options.batch * 1000
            told = time.monotonic() - begun
            print(f"{spent:6.1f} min step {step} pictures {len(shots)} rate {rate:.5f} "
                  f"box cls dfl {np.round(sums / 50, 3)} {pace:.1f} ms per picture", flush=True)  # fmt: skip
            sums[:] = 0.0
        if time.monotonic() - saved > 180:
            saved = time.monotonic()
            torch.save(mean.ema.state_dict(), options.out.with_suffix(".pt"))
    pool.terminate()
    torch.save(mean.ema.state_dict(), options.out.with_suffix(".pt"))
    print(f"{step} steps of {options.batch} pictures on {device}", flush=True)
    export(mean.ema.float().cpu().eval(), network, options.out)


def main() -> None:
    """Reads the options and trains, or only exports a checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=12, help="rounds over the pictures, at most")
    parser.add_argument("--minutes", type=float, default=0.0, help="stop after so long, the rate falls accordingly")
    parser.add_argument("--images", type=int, default=9000, help="pictures to render")
    parser.add_argument("--first", type=int, default=1200, help="pictures to wait for before the training begins")
    parser.add_argument("--seed", type=int, default=1001, help="of the pictures and of the training")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rate", type=float, default=0.002)
    parser.add_argument("--width", type=float, default=0.1875, help="of the network: 0.25 is YOLOv8n")
    parser.add_argument("--bfloat16", action="store_true", help="for processors that have it (avx512_bf16, GPUs)")
    parser.add_argument("--threads", type=int, default=2, help="1 where others work too")
    parser.add_argument("--painters", type=int, default=2, help="processes that render")
    parser.add_argument("--take-up", type=Path, help="train an exported model (.onnx of the same network) further")
    parser.add_argument("--resume", type=Path, help="weights to go on from (.pt beside an earlier --out)")
    parser.add_argument("--export", type=Path, help="only export these weights")
    parser.add_argument("--out", type=Path, default=Path("yard.onnx"))
    options = parser.parse_args()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    if options.export:
        network = NETWORK.format(classes=len(LABELS), width=options.width)
        with tempfile.TemporaryDirectory() as folder:
            description = Path(folder, "yard-n.yaml")
            description.write_text(network)
            model = YOLO(str(description), task="detect").model
        model.load_state_dict(torch.load(options.export, weights_only=True, map_location="cpu"))
        export(model, network, options.out)
        return
    train(options)


if __name__ == "__main__":
    main()
