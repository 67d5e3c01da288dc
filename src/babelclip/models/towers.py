"""The two towers of a model as an engine runs them, each compiled when it is first used."""

import threading
from pathlib import Path
from typing import TYPE_CHECKING

from babelclip.checkpoints.layouts import read_image_spec, read_text_spec
from babelclip.checkpoints.specs import ImageSpec, TextSpec
from babelclip.errors import ModelError
from babelclip.models.compiled_cache import compile_tower
from babelclip.models.precision import Precision, PrecisionPlan, choose, int8_hardware
from babelclip.models.registry import ModelFolders
from babelclip.runtimes import Session, capabilities, load_runtime

if TYPE_CHECKING:
    import onnx


class Towers:
    """Compiled towers by name, "text" and "image". Safe to use from several threads.

    ``text_spec`` and ``image_spec`` describe them; one that the model lacks is None.
    """

    def __init__(self, folders: ModelFolders, *, runtime: str, precision: Precision, threads: int) -> None:
        """Read what the towers are; nothing is compiled yet.

        :param folders: where they are
        :param runtime: one of runtimes.RUNTIMES
        :param precision: in what they calculate
        :param threads: how many, or 0 for the engine's own choice
        :raises InputError: if the runtime is not known
        :raises ModelError: if a tower cannot be read
        """
        self._folders = folders
        self._runtime_name = runtime
        self._runtime = load_runtime(runtime)
        self._precision: Precision = precision
        self._threads = threads
        self._locks = {tower: threading.Lock() for tower in ("text", "image")}
        self._sessions: dict[str, Session] = {}
        self.text_spec: TextSpec | None = read_text_spec(folders.text) if folders.text else None
        self.image_spec: ImageSpec | None = read_image_spec(folders.image) if folders.image else None

    def ready(self, tower: str) -> bool:
        """Whether a tower has been compiled.

        :param tower: "text" or "image"
        :return: whether it has
        """
        return tower in self._sessions

    def session(self, tower: str) -> Session:
        """A compiled tower, made by whoever asks first while others wait.

        :param tower: "text" or "image", which the model has
        :return: the tower
        :raises InputError: as precision
        :raises ModelError: if it cannot be built or compiled
        """
        with self._locks[tower]:
            if tower not in self._sessions:
                choice = self.precision(tower)
                folder = self._folders.text if tower == "text" else self._folders.image
                sources = [path for path in (folder, self._folders.calibrations.get(tower)) if path is not None]
                self._sessions[tower] = compile_tower(
                    self._runtime,
                    lambda spill: self._graph(tower, choice, spill),
                    tower,
                    sources,
                    choice=choice,
                    threads=self._threads,
                )
            return self._sessions[tower]

    def precision(self, tower: str) -> PrecisionPlan:
        """In what a tower calculates, and why.

        :param tower: "text" or "image"
        :return: the choice
        :raises InputError: if the engine cannot do what was asked for
        :raises ModelError: if int8 was asked for and the model is not calibrated
        """
        auto = self._precision == "auto"
        return choose(
            self._precision,
            self._runtime_name,
            calibrated=tower in self._folders.calibrations,
            capabilities=capabilities(self._runtime_name) if auto else (),
            int8=int8_hardware() if auto else None,
        )

    def _graph(self, tower: str, choice: PrecisionPlan, spill: Path | None) -> "onnx.ModelProto":
        """The tower as a graph; what writes graphs is imported only where one is written."""
        from babelclip.graphs import build_image_graph, build_text_graph
        from babelclip.graphs.quantization import read_calibration

        calibration = read_calibration(self._folders.calibrations[tower]) if choice.int8 else None
        spec = self.text_spec if tower == "text" else self.image_spec
        if isinstance(spec, TextSpec):
            return build_text_graph(spec, calibration=calibration, spill=spill)
        if spec is None:
            raise ModelError(f"{self._folders.name} has no {tower} tower")
        return build_image_graph(spec, calibration=calibration, spill=spill)
