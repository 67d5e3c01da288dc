"""Multilingual Knowledge Distillation (Reimers & Gurevych 2020, arXiv 2004.09813), on sentence-transformers' trainer.

A student is trained to map a source and its translation to the teacher's vector of the source:
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
from babelclip.training.logging import silence_libraries
from babelclip.training.sampling import TrainingPlan
from babelclip.vectors import FloatArray, unit_rows

Loss = Literal["mse", "cosine"]
CHECKPOINTS = "checkpoints"
LOG = "log.jsonl"
ENCODER_CONFIG = "sentence_bert_config.json"
BUCKET_BATCHES = 32
"""Batches whose texts are sorted by length together: enough for little padding, few enough to remain random."""
ENCODE_BATCH = 256
TOKENISE_BATCH = 10_000
LENGTH = "length"


@dataclass(frozen=True, slots=True)
class DistillationConfig:
    """Hyperparameters of a distillation, for a small student by default; ``patience`` 0 disables early stopping.

    Dropout is off by default: a student of a fixed target needs no further noise, and dropout costs a fifth of the
    speed.
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
class TrainingProgress:
    """The completed steps and their total, the latest loss, and the rate in texts per second."""

    step: int
    steps: int
    loss: float
    rate: float


TrainingProgressCallback = Callable[[TrainingProgress], None]
StudentEvaluator = Callable[["StudentEncoder"], dict[str, float]]
"""Takes the student and returns figures by name, among them ``score``; a higher score is better."""


def distill(
    student: Path,
    out: Path,
    plan: TrainingPlan,
    rows: NDArray[np.int64],
    vectors: FloatArray,
    config: DistillationConfig,
    *,
    evaluate: StudentEvaluator | None = None,
    resume: bool = False,
    progress: TrainingProgressCallback | None = None,
) -> list[dict[str, float]]:
    """Train a student and write it.

    An interrupted run leaves its last checkpoint in ``out/checkpoints``; resumed with the same arguments, it continues
    with the same batches.

    :param student: the sentence-transformers folder to start from; it is not changed
    :param out: the folder of the trained student; log.jsonl holds one log entry per line
    :param plan: the texts
    :param rows: int64 (texts,), the row of each text's target in ``vectors``
    :param vectors: float32 (m, dimension), the teacher's vectors
    :param config: hyperparameters
    :param evaluate: measures the student during training; the student with the best ``score`` is kept
    :param resume: continue from the last checkpoint
    :param progress: receives the progress of training
    :return: the log: loss, learning rate and figures by step
    :raises InputError: if there is nothing to resume, or there are checkpoints and resume is False
    """
    checkpoints = out / CHECKPOINTS
    last = last_checkpoint(checkpoints)
    if resume and last is None:
        raise InputError(f"{checkpoints} holds no checkpoint to resume from; start the run without --resume")
    if last is not None and not resume:
        raise InputError(
            f"{checkpoints} holds checkpoints of another run; give a new folder, or --resume to continue that run"
        )
    silence_libraries()
    model = _load(student, student)
    model.model_card_data.generate_widget_examples = False
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = config.dropout
    if config.freeze_words:
        model[0].auto_model.get_input_embeddings().requires_grad_(False)
    out.mkdir(parents=True, exist_ok=True)
    callbacks: list[TrainerCallback] = [_LogWriter(out / LOG, progress)]
    if evaluate is not None:
        callbacks.append(_EvaluateLastStep())
    if evaluate is not None and config.patience:
        callbacks.append(EarlyStoppingCallback(early_stopping_patience=config.patience))
    trainer = _Trainer(
        student,
        model=model,
        args=_arguments(config, checkpoints, len(plan), measured=evaluate is not None),
        train_dataset=Dataset.from_dict({"text": plan.texts, "label": rows, LENGTH: token_lengths(model, plan.texts)}),
        loss=DistillationLoss(model, config),
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
        # The file that the trainer writes lacks the arguments with which the encoder is loaded.
        shutil.copyfile(student / ENCODER_CONFIG, out / ENCODER_CONFIG)
        (out / "settings.json").write_text(json.dumps(asdict(config), indent=1) + "\n", encoding="utf-8")
    return log


def _arguments(
    config: DistillationConfig, checkpoints: Path, texts: int, *, measured: bool
) -> SentenceTransformerTrainingArguments:
    """Convert the configuration to the trainer's arguments."""
    steps = max(1, math.ceil(texts / (config.batch * config.accumulate)))
    return SentenceTransformerTrainingArguments(
        output_dir=str(checkpoints),
        num_train_epochs=1,
        per_device_train_batch_size=config.batch,
        gradient_accumulation_steps=config.accumulate,
        learning_rate=config.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=round(config.warmup * steps),
        weight_decay=config.weight_decay,
        bf16=config.bf16,
        use_cpu=_on_cpu(),
        seed=config.seed,
        batch_sampler=LengthBatches,
        eval_strategy="steps" if measured else "no",
        eval_steps=config.evaluate_every,
        save_steps=config.evaluate_every,
        save_total_limit=2,
        load_best_model_at_end=measured,
        metric_for_best_model="eval_score" if measured else None,
        greater_is_better=True if measured else None,
        logging_steps=max(1, min(50, steps // 20)),
        logging_first_step=True,
        report_to=["tensorboard"] if config.tensorboard else [],
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )


def _on_cpu() -> bool:
    """Return whether there is no accelerator."""
    return not torch.cuda.is_available() and not torch.backends.mps.is_available()


def processes() -> PartialState:
    """Return the state of the processes that train together, started by torchrun or accelerate; usually one.

    :return: the state of accelerate
    """
    return PartialState(cpu=_on_cpu())


def last_checkpoint(folder: Path) -> Path | None:
    """Find the newest complete checkpoint.

    :param folder: the folder of the checkpoints
    :return: the folder of the checkpoint, or None if there is none
    """

    def complete(checkpoint: Path) -> bool:
        # The trainer writes its state last.
        try:
            return bool(json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8")))
        except (OSError, ValueError):
            return False

    checkpoints = [checkpoint for checkpoint in folder.glob("checkpoint-*") if complete(checkpoint)]
    return max(checkpoints, key=lambda checkpoint: int(checkpoint.name.rpartition("-")[2]), default=None)


class _Trainer(SentenceTransformerTrainer):
    """Loads checkpoints with the arguments of the student, without the untrained pooler."""

    def __init__(self, student: Path, **arguments: Any) -> None:
        self._student = student
        super().__init__(**arguments)

    def _load_from_checkpoint(self, checkpoint_path: str) -> None:
        self.model.load_state_dict(_load(Path(checkpoint_path), self._student).state_dict())


def _load(folder: Path, student: Path) -> SentenceTransformer:
    """Load a student or a checkpoint; eager attention is faster than the fused one for short texts."""
    arguments = json.loads((student / ENCODER_CONFIG).read_text(encoding="utf-8")).get("model_args", {})
    return SentenceTransformer(
        str(folder), device=None, model_kwargs={**arguments, "attn_implementation": "eager"}, local_files_only=True
    )


class DistillationLoss(torch.nn.Module):
    """Mean distance between the student's and the teacher's vectors: squared, or one less the cosine.

    ``contrast`` is the weight of an additional term: the cross-entropy of identifying the right teacher vector in the
    batch.
    """

    def __init__(self, model: SentenceTransformer, config: DistillationConfig) -> None:
        """Store the student, which the trainer may wrap."""
        super().__init__()
        self.model = model
        self._config = config

    def forward(self, features: list[dict[str, torch.Tensor]], labels: torch.Tensor) -> torch.Tensor:
        """Compute the loss of a batch.

        :param features: one entry, the tokens of the texts
        :param labels: (n, 1 + dimension): the id of the target, and the target
        :return: the loss, a scalar
        """
        vectors = self.model(features[0])["sentence_embedding"].float()
        ids, targets = labels[:, 0], labels[:, 1:].to(vectors.dtype)
        if self._config.loss == "mse":
            loss = (vectors - targets).square().sum(dim=1).mean()
        else:
            loss = (1 - torch.nn.functional.cosine_similarity(vectors, targets)).mean()
        if self._config.contrast:
            _, first, positives = np.unique(ids.cpu().numpy(), return_index=True, return_inverse=True)
            bank = torch.nn.functional.normalize(targets[torch.from_numpy(first)], dim=1)
            scores = torch.nn.functional.normalize(vectors, dim=1) @ bank.T / self._config.temperature
            loss = loss + self._config.contrast * torch.nn.functional.cross_entropy(scores, torch.from_numpy(positives))
        return loss


class LengthBatches(DefaultBatchSampler):
    """Samples batches of texts of similar length, in an order that depends only on the seed and the epoch."""

    def __init__(self, dataset: Dataset, batch_size: int, drop_last: bool, **arguments: Any) -> None:
        """Read the lengths of the texts."""
        super().__init__(dataset, batch_size=batch_size, drop_last=drop_last, **arguments)
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
            for number in rng.permutation(len(batches)):
                yield batches[number].tolist()


class _Collator(SentenceTransformerDataCollator):
    """Tokenises the texts of a batch and reads their targets from the vector cache."""

    def __init__(self, preprocess: Callable[..., Any], vectors: FloatArray) -> None:
        super().__init__(preprocess_fn=preprocess)
        self._vectors = vectors

    def __call__(self, features: list[dict[str, Any]]) -> dict[str, Any]:
        rows = [row["label"] for row in features]
        batch = super().__call__([{"text": row["text"]} for row in features])
        ids = np.array(rows, dtype=np.float64)[:, None]
        batch["label"] = torch.from_numpy(np.hstack([ids, self._vectors[rows]]))
        return batch


class _Evaluator(BaseEvaluator):
    """Adapts an evaluation to the trainer."""

    def __init__(self, evaluate: StudentEvaluator) -> None:
        super().__init__()
        self._evaluate = evaluate
        self.primary_metric = "score"

    def __call__(
        self, model: SentenceTransformer, output_path: str | None = None, epoch: float = -1, steps: int = -1
    ) -> dict[str, float]:
        return self._evaluate(StudentEncoder(model))


class _EvaluateLastStep(TrainerCallback):
    """Evaluates after the last step too: the best checkpoint is chosen among those that were evaluated."""

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        control.should_evaluate = control.should_evaluate or state.global_step >= state.max_steps


class _LogWriter(TrainerCallback):
    """Writes every log entry at once, and reports the progress."""

    def __init__(self, file: Path, progress: TrainingProgressCallback | None) -> None:
        self._file = file
        self._progress = progress
        self._start: tuple[float, int] | None = None

    def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, float], **kwargs: Any) -> None:
        if not state.is_world_process_zero:
            return
        with self._file.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": state.global_step, **logs}) + "\n")
        now = time.monotonic()
        start, first_step = self._start = self._start or (now, state.global_step)
        steps = (state.global_step - first_step) * args.gradient_accumulation_steps * args.world_size
        if "loss" in logs and self._progress is not None:
            rate = steps * args.per_device_train_batch_size / (now - start) if now > start else 0.0
            self._progress(TrainingProgress(state.global_step, state.max_steps, float(logs["loss"]), rate))


class StudentEncoder:
    """Adapts a student to the interface of evaluation."""

    def __init__(self, model: SentenceTransformer) -> None:
        """Store the student."""
        self._model = model

    def encode_text(self, texts: Sequence[str]) -> FloatArray:
        """Embed texts.

        :param texts: the texts
        :return: float32 (n, dimension), unit rows
        """
        vectors = self._model.encode(list(texts), batch_size=ENCODE_BATCH, show_progress_bar=False)
        return unit_rows(np.asarray(vectors, dtype=np.float32))


def token_lengths(model: SentenceTransformer, texts: Sequence[str]) -> list[int]:
    """Count the tokens that a student reads of each text.

    :param model: the student
    :param texts: the texts
    :return: the number of tokens of each text
    """
    lengths: list[int] = []
    for batch in chunks(texts, TOKENISE_BATCH):
        ids = model.tokenizer(batch, truncation=True, max_length=model.max_seq_length)["input_ids"]
        lengths.extend(map(len, ids))
    return lengths
