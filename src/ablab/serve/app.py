"""The routes: the logbook, experiments, runs, and the data that updates their pages."""

import re
from collections.abc import Callable
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import PackageLoader
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ablab.logbook.entry import entry_content
from ablab.logbook.page import assets, policy, templates_with
from ablab.serve import contents
from ablab.serve.guard import Guard
from ablab.serve.response_cache import Answer, ResponseCache
from ablab.store.store import ExperimentRecord, Store, StoreError
from ablab.store.versions import (
    experiment_tables_version,
    experiment_version,
    run_tables_version,
    run_version,
    store_version,
)

_NUMBER = re.compile(r"[0-9]{1,18}")  # the index has 64-bit numbers
_HTML, _JSON = "text/html; charset=utf-8", "application/json"


def make_app(path: Path, *, loopback: bool, token: str | None) -> Guard:
    """The web application that shows a store.

    Args:
        path: The store's folder, which need not exist yet.
        loopback: Whether the server listens on loopback only; see :class:`Guard`.
        token: The token that requests must contain; None if they need none.
    """
    pages = _Pages(path)
    routes = [
        Route("/", pages.home),
        Route("/experiments/{number}", pages.experiment),
        Route("/experiments/{number}/data", pages.experiment_data),
        Route("/runs/{run}", pages.run),
        Route("/runs/{run}/data", pages.run_data),
    ]
    return Guard(Starlette(routes=routes), loopback, token)


class _Pages:
    """Answers requests; each opens its own read-only connection to the store."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._cache = ResponseCache()
        self._templates = templates_with(PackageLoader("ablab.serve", "assets"))
        live, wait, home = (_asset(name) for name in ("live.js", "wait.js", "home.js"))
        found = assets(live)
        scripts = [found[name] for name in ("first_js", "uplot_js", "page_js")]
        self._assets = found | {"wait_js": wait, "policy": _policy(*scripts, wait, home)}
        self._home_assets = {
            "page_css": found["page_css"],
            "home_css": _asset("home.css"),
            "home_js": home,
            "policy": _policy(home),
        }

    def home(self, request: Request) -> Response:
        """The logbook, or a notice that there is no store yet."""
        if not (self._path / "index.sqlite").is_file():
            text = "There is no store here yet. This page reloads when there is one."
            return self._trouble(text, 200)

        entries, runs = (_page(request, name) for name in ("entries", "runs"))

        def show(store: Store) -> Answer:
            version = store_version(store)

            def make() -> str:
                content = contents.logbook(store, entries, runs) | {"version": version}
                return self._render("home.html.j2", content, self._home_assets)

            return self._cache.get(f"home {entries} {runs}", version, make)

        return self._answer(request, show, _HTML)

    def experiment(self, request: Request) -> Response:
        """An experiment's page: its entry, made from the current state of the store.

        A large experiment is shown by its runs, unless the entry is asked for.
        """
        whole = request.query_params.get("entry") == "1"
        page = _page(request, "runs")

        def show(store: Store) -> Answer:
            record = contents.find_experiment(store, _number(request))
            version = experiment_version(store, record)
            if not whole and contents.is_large(store, record):
                return self._cache.get(
                    f"runs {record.id} {page}", version, lambda: show_runs(store, record, version)
                )

            def make() -> str:
                tables = experiment_tables_version(store, record)
                content = entry_content(store, record) | contents.live(
                    store, store.runs(record), version, tables
                )
                return self._render("experiment.html.j2", content, self._assets)

            return self._cache.get(f"experiment {record.id}", version, make)

        def show_runs(store: Store, record: ExperimentRecord, version: str) -> str:
            content = contents.large_experiment(store, record, page) | {"version": version}
            return self._render("large.html.j2", content, self._home_assets)

        return self._answer(request, show, _HTML)

    def experiment_data(self, request: Request) -> Response:
        """The curves of an experiment, or status 304 if the client has the current ones."""

        def show(store: Store) -> Answer:
            record = contents.find_experiment(store, _number(request))
            version = experiment_version(store, record)
            make = partial(contents.experiment_data, store, record, version)
            return self._cache.get(f"data {record.id}", version, make)

        return self._answer(request, show, _JSON)

    def run(self, request: Request) -> Response:
        """A run's page."""

        def show(store: Store) -> Answer:
            run = contents.find_run(store, request.path_params["run"])
            version = run_version(store, run)

            def make() -> str:
                tables = run_tables_version(run)
                content = contents.run_content(store, run)
                content |= contents.live(store, [run], version, tables)
                return self._render("run.html.j2", content, self._assets)

            return self._cache.get(f"run {run.run}", version, make)

        return self._answer(request, show, _HTML)

    def run_data(self, request: Request) -> Response:
        """The curves of a run, or status 304 if the client has the current ones."""

        def show(store: Store) -> Answer:
            run = contents.find_run(store, request.path_params["run"])
            version = run_version(store, run)
            make = partial(contents.run_data, store, run, version)
            return self._cache.get(f"data {run.run}", version, make)

        return self._answer(request, show, _JSON)

    def _render(self, name: str, content: dict[str, Any], known: dict[str, str]) -> str:
        more = {"path": self._path, "assets": known}
        return self._templates.get_template(name).render(content | more)

    def _answer(self, request: Request, show: Callable[[Store], Answer], kind: str) -> Response:
        try:
            store = Store(self._path, write=False)
            try:
                answer = show(store)
            finally:
                store.close()
        except StoreError as error:
            return self._trouble(str(error.problems[0].message), 503)
        except LookupError as error:
            return self._trouble(str(error.args[0]), 404)
        headers = {"etag": f'"{answer.version}"'}
        if request.headers.get("if-none-match") == headers["etag"]:
            return Response(status_code=304, headers=headers)
        if kind == _HTML:
            home = request.url.path == "/"
            headers |= _guarding((self._home_assets if home else self._assets)["policy"])
        return Response(answer.text, headers=headers, media_type=kind)

    def _trouble(self, text: str, status: int) -> Response:
        content = {"text": text, "waits": status == 200}
        page = self._render("trouble.html.j2", content, self._home_assets)
        headers = _guarding(self._home_assets["policy"])
        return Response(page, status, headers, _HTML)


def _number(request: Request) -> int:
    """The number of the experiment in the path of a request.

    Raises:
        LookupError: It is not a number that an experiment can have.
    """
    text = str(request.path_params["number"])
    if not _NUMBER.fullmatch(text):
        raise LookupError("the store has no experiment with this number")
    return int(text)


def _page(request: Request, name: str) -> int:
    """The page of a list that a request asks for; the first one if it does not say."""
    text = request.query_params.get(name, "")
    return int(text) if _NUMBER.fullmatch(text) else 1


def _policy(*scripts: str) -> str:
    return policy(*scripts, connect="'self'")


def _guarding(known: str) -> dict[str, str]:
    return {"content-security-policy": f"{known}; frame-ancestors 'none'"}


def _asset(name: str) -> str:
    folder = resources.files("ablab.serve").joinpath("assets")
    return folder.joinpath(name).read_text(encoding="utf-8")
