"""The two towers of a model, each compiled by the runtime at its first use."""

import threading
from pathlib import Path
from typing import TYPE_CHECKING

from babelclip.checkpoints.layouts import read_image_spec, read_text_spec
from babelclip.checkpoints.specs import ImageSpec, TextSpec
from babelclip.errors import ModelError
from babelclip.models.compiled_cache import compile_tower
from babelclip.models.precision import Precision, PrecisionPlan, int8_hardware, plan_precision
from babelclip.models.registry import ModelFolders
from babelclip.runtimes import Session, capabilities, load_runtime

if TYPE_CHECKING:
    import onnx


class Towers:
    """Compiled towers by name, "text" and "image". Safe to use from several threads.

    ``text_spec`` and ``image_spec`` describe them; one that the model lacks is None.
    """

    def __init__(self, folders: ModelFolders, *, runtime: str, precision: Precision, threads: int) -> None:
        """Read the specifications of the towers; nothing is compiled yet.

        :param folders: their folders
        :param runtime: one of runtimes.RUNTIMES
        :param precision: the requested precision
        :param threads: number of threads, or 0 for the runtime's default
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
        """Check whether a tower has been compiled.

        :param tower: "text" or "image"
        :return: whether it has
        """
        return tower in self._sessions

    def session(self, tower: str) -> Session:
        """Give a compiled tower; the first caller compiles it, others wait.

        :param tower: "text" or "image", which the model has
        :return: the tower
        :raises InputError: as ``precision``
        :raises ModelError: if it cannot be built or compiled
        """
        with self._locks[tower]:
            if tower not in self._sessions:
                plan = self.precision(tower)
                folder = self._folders.text if tower == "text" else self._folders.image
                sources = [path for path in (folder, self._folders.calibrations.get(tower)) if path is not None]
                self._sessions[tower] = compile_tower(
                    self._runtime,
                    lambda spill: self._graph(tower, plan, spill),
                    tower,
                    sources,
                    plan=plan,
                    threads=self._threads,
                )
            return self._sessions[tower]

    def precision(self, tower: str) -> PrecisionPlan:
        """Resolve the precision of a tower.

        :param tower: "text" or "image"
        :return: the plan
        :raises InputError: if the runtime does not support the requested precision
        :raises ModelError: if int8 was requested and the model has no activation ranges
        """
        auto = self._precision == "auto"
        return plan_precision(
            self._precision,
            self._runtime_name,
            calibrated=tower in self._folders.calibrations,
            capabilities=capabilities(self._runtime_name) if auto else (),
            int8=int8_hardware() if auto else None,
        )

    def _graph(self, tower: str, plan: PrecisionPlan, spill: Path | None) -> "onnx.ModelProto":
        """The tower as a graph; what writes graphs is imported only where one is written."""
        from babelclip.graphs import build_image_graph, build_text_graph
        from babelclip.graphs.quantization import read_calibration

        calibration = read_calibration(self._folders.calibrations[tower]) if plan.int8 else None
        spec = self.text_spec if tower == "text" else self.image_spec
        if isinstance(spec, TextSpec):
            return build_text_graph(spec, calibration=calibration, spill=spill)
        if spec is None:
            raise ModelError(f"{self._folders.name} has no {tower} tower")
        return build_image_graph(spec, calibration=calibration, spill=spill)
