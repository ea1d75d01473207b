"""Hydra's sweeper on our search: candidates stream through the launcher."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hydra.plugins.sweeper import Sweeper

from hydra_plugins.autotune_launchers._config import register

if TYPE_CHECKING:
    from hydra.types import HydraContext, TaskFunction
    from omegaconf import DictConfig

register()


class StreamingSweeper(Sweeper):
    """Streams the candidates of the search through the launcher."""

    def __init__(self, params: dict[str, Any] | None = None) -> None:
        self.params = params or {}
        self.launcher: Any = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Instantiate the launcher."""
        from hydra.core.plugins import Plugins

        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        """Run every candidate; `arguments` were checked and expanded before Hydra was called."""
        from autotune.active import active
        from hydra_plugins.autotune_launchers._search import GridSearch, run_search

        del arguments
        search = GridSearch(active().settings.candidates)
        if not hasattr(self.launcher, "submit"):
            return self.launcher.launch(search.overrides(), 0)
        with self.launcher.scheduler.guarded():
            run_search(search, self.launcher)
        return None
