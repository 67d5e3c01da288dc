"""Multilingual Knowledge Distillation (Reimers & Gurevych 2020, arXiv 2004.09813), on sentence-transformers' trainer.

A student learns to give a source and its translation the vector that the teacher gives the source:
loss = |teacher(source) - student(source)|^2 + |teacher(source) - student(translation)|^2.
"""

import json
import math
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from accelerate import PartialState
from datasets import Dataset
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.base.evaluation import BaseEvaluator
from sentence_transformers.base.sampler import DefaultBatchSampler
from sentence_transformers.sentence_transformer.data_collator import SentenceTransformerDataCollator
from sentence_transformers.sentence_transformer.model_card import SentenceTransformerModelCardCallback
from transformers import EarlyStoppingCallback, PrinterCallback, TrainerCallback

from babelclip.errors import InputError
from babelclip.pipeline import chunks
from babelclip.training.quiet import silence
from babelclip.training.sampling import Plan
from babelclip.vectors import FloatArray, unit_rows

Loss = Literal["mse", "cosine"]
CHECKPOINTS = "checkpoints"
LOG = "log.jsonl"
OPENING = "sentence_bert_config.json"
BUCKET_BATCHES = 32
"""Batches whose texts are sorted by length together: enough for little padding, few enough to stay random."""
ENCODE_BATCH = 256
TOKENISED_AT_ONCE = 10_000
LENGTH = "length"


@dataclass(frozen=True, slots=True)
class Settings:
    """How a student is trained. The rate and the batch suit a small student; ``patience`` 0 is no early stop.

    The targets of a distillation are noise enough; dropout, which BERT is pretrained with, costs a fifth of the speed.
    """

    loss: Loss = "mse"
    batch: int = 256
    accumulate: int = 1
    learning_rate: float = 2e-4
    warmup: float = 0.1
    weight_decay: float = 0.01
    bf16: bool = False
    dropout: float = 0.0
    freeze_words: bool = False
    evaluate_every: int = 1000
    patience: int = 0
    seed: int = 0
    tensorboard: bool = False
    contrast: float = 0.0
    temperature: float = 0.05


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a training is: steps done and in all, the last loss, and texts a second."""

    step: int
    steps: int
    loss: float
    rate: float


Show = Callable[[Progress], None]
Evaluate = Callable[["StudentEncoder"], dict[str, float]]
"""Gets the student; gives figures by name, among them ``score``, of which more is better."""


def distill(
    student: Path,
    out: Path,
    plan: Plan,
    rows: NDArray[np.int64],
    vectors: FloatArray,
    settings: Settings,
    *,
    evaluate: Evaluate | None = None,
    resume: bool = False,
    show: Show | None = None,
) -> list[dict[str, float]]:
    """Train a student and write it.

    A killed training leaves its last checkpoint in ``out/checkpoints``; resumed with the same arguments, it goes on
    with the same batches.

    :param student: the sentence-transformers folder to start from; it is not changed
    :param out: the folder of the trained student; its log is in log.jsonl, a line an entry
    :param plan: the texts
    :param rows: int64 (texts,), the row of each text's target in ``vectors``
    :param vectors: float32 (m, dimension), the teacher's
    :param settings: how
    :param evaluate: measures the student as it trains; the best one by its ``score`` is kept
    :param resume: go on from the last checkpoint
    :param show: is told where the training is
    :return: the log: loss, learning rate and figures by step
    :raises InputError: if there is nothing to resume, or there are checkpoints and resume is False
    """
    checkpoints = out / CHECKPOINTS
    last = last_checkpoint(checkpoints)
    if resume and last is None:
        raise InputError(f"{checkpoints} holds no checkpoint to resume from")
    if last is not None and not resume:
        raise InputError(f"{checkpoints} holds checkpoints of another training; give a new folder, or resume")
    silence()
    model = _load(student, student)
    model.model_card_data.generate_widget_examples = False
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = settings.dropout
    if settings.freeze_words:
        model[0].auto_model.get_input_embeddings().requires_grad_(False)
    out.mkdir(parents=True, exist_ok=True)
    callbacks: list[TrainerCallback] = [_Journal(out / LOG, show)]
    if evaluate is not None:
        callbacks.append(_MeasureLast())
    if evaluate is not None and settings.patience:
        callbacks.append(EarlyStoppingCallback(early_stopping_patience=settings.patience))
    trainer = _Trainer(
        student,
        model=model,
        args=_arguments(settings, checkpoints, len(plan), measured=evaluate is not None),
        train_dataset=Dataset.from_dict({"text": plan.texts, "label": rows, LENGTH: token_lengths(model, plan.texts)}),
        loss=DistillationLoss(model, settings),
        evaluator=_Evaluator(evaluate) if evaluate is not None else None,
        data_collator=_Collator(model.preprocess, vectors),
        callbacks=callbacks,
    )
    trainer.remove_callback(PrinterCallback)
    trainer.remove_callback(SentenceTransformerModelCardCallback)
    trainer.train(resume_from_checkpoint=str(last) if resume else None)
    log: list[dict[str, float]] = list(trainer.state.log_history)
    if trainer.is_world_process_zero():
        model.save_pretrained(str(out), create_model_card=False)
        # The trainer's own file does not say how the encoder is to be opened.
        shutil.copyfile(student / OPENING, out / OPENING)
        (out / "settings.json").write_text(json.dumps(asdict(settings), indent=1) + "\n", encoding="utf-8")
    return log


def _arguments(
    settings: Settings, checkpoints: Path, texts: int, *, measured: bool
) -> SentenceTransformerTrainingArguments:
    """The settings in the trainer's terms."""
    steps = max(1, math.ceil(texts / (settings.batch * settings.accumulate)))
    return SentenceTransformerTrainingArguments(
        output_dir=str(checkpoints),
        num_train_epochs=1,
        per_device_train_batch_size=settings.batch,
        gradient_accumulation_steps=settings.accumulate,
        learning_rate=settings.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=round(settings.warmup * steps),
        weight_decay=settings.weight_decay,
        bf16=settings.bf16,
        use_cpu=_on_cpu(),
        seed=settings.seed,
        batch_sampler=LengthBatches,
        eval_strategy="steps" if measured else "no",
        eval_steps=settings.evaluate_every,
        save_steps=settings.evaluate_every,
        save_total_limit=2,
        load_best_model_at_end=measured,
        metric_for_best_model="eval_score" if measured else None,
        greater_is_better=True if measured else None,
        logging_steps=max(1, min(50, steps // 20)),
        logging_first_step=True,
        report_to=["tensorboard"] if settings.tensorboard else [],
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )


def _on_cpu() -> bool:
    """Whether there is no accelerator."""
    return not torch.cuda.is_available() and not torch.backends.mps.is_available()


def processes() -> PartialState:
    """The processes that train together, as torchrun or accelerate started them; usually one.

    :return: accelerate's state
    """
    return PartialState(cpu=_on_cpu())


def last_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint that was written to its end.

    :param folder: where they are
    :return: its folder, or None where there is none
    """

    def whole(checkpoint: Path) -> bool:
        # The trainer writes its state last.
        try:
            return bool(json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8")))
        except (OSError, ValueError):
            return False

    found = [checkpoint for checkpoint in folder.glob("checkpoint-*") if whole(checkpoint)]
    return max(found, key=lambda checkpoint: int(checkpoint.name.rpartition("-")[2]), default=None)


class _Trainer(SentenceTransformerTrainer):
    """The trainer, told how a checkpoint of the student is opened: without a pooler that nobody trained."""

    def __init__(self, student: Path, **settings: Any) -> None:
        self._student = student
        super().__init__(**settings)

    def _load_from_checkpoint(self, checkpoint_path: str) -> None:
        self.model.load_state_dict(_load(Path(checkpoint_path), self._student).state_dict())


def _load(folder: Path, student: Path) -> SentenceTransformer:
    """A student or a checkpoint of it; plain attention is faster than the fused one where texts are short."""
    arguments = json.loads((student / OPENING).read_text(encoding="utf-8")).get("model_args", {})
    return SentenceTransformer(
        str(folder), device=None, model_kwargs={**arguments, "attn_implementation": "eager"}, local_files_only=True
    )


class DistillationLoss(torch.nn.Module):
    """The distance of the student's vectors from the teacher's: squared, or one less the cosine; mean over the texts.

    ``contrast`` adds, so many times, the cross-entropy of finding the right teacher vector among those of the batch.
    """

    def __init__(self, model: SentenceTransformer, settings: Settings) -> None:
        """Keep the student, which the trainer may wrap."""
        super().__init__()
        self.model = model
        self.settings = settings

    def forward(self, features: list[dict[str, torch.Tensor]], labels: torch.Tensor) -> torch.Tensor:
        """The loss of a batch.

        :param features: one entry: the tokens of the texts
        :param labels: (n, 1 + dimension): the number of the target, and the target
        :return: the loss, a scalar
        """
        found = self.model(features[0])["sentence_embedding"].float()
        numbers, targets = labels[:, 0], labels[:, 1:].to(found.dtype)
        if self.settings.loss == "mse":
            loss = (found - targets).square().sum(dim=1).mean()
        else:
            loss = (1 - torch.nn.functional.cosine_similarity(found, targets)).mean()
        if self.settings.contrast:
            _, first, own = np.unique(numbers.cpu().numpy(), return_index=True, return_inverse=True)
            bank = torch.nn.functional.normalize(targets[torch.from_numpy(first)], dim=1)
            scores = torch.nn.functional.normalize(found, dim=1) @ bank.T / self.settings.temperature
            loss = loss + self.settings.contrast * torch.nn.functional.cross_entropy(scores, torch.from_numpy(own))
        return loss


class LengthBatches(DefaultBatchSampler):
    """Batches of texts of similar length, in an order that depends on the seed and the epoch alone."""

    def __init__(self, dataset: Dataset, batch_size: int, drop_last: bool, **settings: Any) -> None:
        """Measure the texts once."""
        super().__init__(dataset, batch_size=batch_size, drop_last=drop_last, **settings)
        self._lengths = np.asarray(dataset[LENGTH])

    def __len__(self) -> int:
        return math.ceil(len(self._lengths) / self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        rng = np.random.default_rng([self.seed, self.epoch])
        order = rng.permutation(len(self._lengths))
        size = self.batch_size * BUCKET_BATCHES
        for start in range(0, len(order), size):
            bucket = order[start : start + size]
            bucket = bucket[np.argsort(self._lengths[bucket], kind="stable")]
            batches = [bucket[i : i + self.batch_size] for i in range(0, len(bucket), self.batch_size)]
            for place in rng.permutation(len(batches)):
                yield batches[place].tolist()


class _Collator(SentenceTransformerDataCollator):
    """Tokenises the texts of a batch and fetches their targets from the store."""

    def __init__(self, preprocess: Callable[..., Any], vectors: FloatArray) -> None:
        super().__init__(preprocess_fn=preprocess)
        self._vectors = vectors

    def __call__(self, features: list[dict[str, Any]]) -> dict[str, Any]:
        rows = [row["label"] for row in features]
        batch = super().__call__([{"text": row["text"]} for row in features])
        numbers = np.array(rows, dtype=np.float64)[:, None]
        batch["label"] = torch.from_numpy(np.hstack([numbers, self._vectors[rows]]))
        return batch


class _Evaluator(BaseEvaluator):
    """Lets our evaluation run inside the trainer."""

    def __init__(self, evaluate: Evaluate) -> None:
        super().__init__()
        self._evaluate = evaluate
        self.primary_metric = "score"

    def __call__(
        self, model: SentenceTransformer, output_path: str | None = None, epoch: float = -1, steps: int = -1
    ) -> dict[str, float]:
        return self._evaluate(StudentEncoder(model))


class _MeasureLast(TrainerCallback):
    """Measures after the last step too: the best checkpoint is chosen among those that were measured."""

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        control.should_evaluate = control.should_evaluate or state.global_step >= state.max_steps


class _Journal(TrainerCallback):
    """Writes every entry of the log as it comes, and tells where the training is."""

    def __init__(self, file: Path, show: Show | None) -> None:
        self._file = file
        self._show = show
        self._start: tuple[float, int] | None = None

    def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, float], **kwargs: Any) -> None:
        if not state.is_world_process_zero:
            return
        with self._file.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": state.global_step, **logs}) + "\n")
        now = time.monotonic()
        began, first = self._start = self._start or (now, state.global_step)
        steps = (state.global_step - first) * args.gradient_accumulation_steps * args.world_size
        if "loss" in logs and self._show is not None:
            rate = steps * args.per_device_train_batch_size / (now - began) if now > began else 0.0
            self._show(Progress(state.global_step, state.max_steps, float(logs["loss"]), rate))


class StudentEncoder:
    """A student as evaluation sees it."""

    def __init__(self, model: SentenceTransformer) -> None:
        """Keep the student."""
        self._model = model

    def encode_text(self, texts: Sequence[str]) -> FloatArray:
        """Vectors of texts.

        :param texts: the texts
        :return: float32 (n, dimension), unit rows
        """
        found = self._model.encode(list(texts), batch_size=ENCODE_BATCH, show_progress_bar=False)
        return unit_rows(np.asarray(found, dtype=np.float32))


def token_lengths(model: SentenceTransformer, texts: Sequence[str]) -> list[int]:
    """How many tokens a student reads of each text.

    :param model: the student
    :param texts: the texts
    :return: a number a text
    """
    lengths: list[int] = []
    for batch in chunks(texts, TOKENISED_AT_ONCE):
        ids = model.tokenizer(batch, truncation=True, max_length=model.max_seq_length)["input_ids"]
        lengths.extend(map(len, ids))
    return lengths
