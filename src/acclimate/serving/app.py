"""The application: paths, and what stands behind them."""

from __future__ import annotations

import asyncio
import csv
import io
from collections.abc import AsyncIterator, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

from fastapi import Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from fastapi.security import HTTPBearer
from starlette.exceptions import HTTPException

from acclimate import __version__
from acclimate.errors import AcclimateError
from acclimate.runs.model import AdaptedModel
from acclimate.runs.prediction_files import csv_cells
from acclimate.serving import asked
from acclimate.serving.forms import read_form
from acclimate.serving.gauges import Gauges
from acclimate.serving.guard import Guard
from acclimate.serving.limits import Limits
from acclimate.serving.page import page
from acclimate.serving.refusals import Refusal, answer_error
from acclimate.serving.served import ServedRun
from acclimate.serving.works import Explaining, Saying
from acclimate.training.feeds import DECODERS

PATHS = ("/", "/health", "/metrics", "/runs", "/predict", "/explain", "/ask", "/openapi.json")


class Service:
    """What the paths share.

    Args:
        models: by the names of the runs.
        limits: of the server.
    """

    def __init__(self, models: Mapping[str, AdaptedModel], limits: Limits) -> None:
        self.limits, self.gauges = limits, Gauges()
        self.decoders = ThreadPoolExecutor(DECODERS, "decode")
        self.runs = {name: ServedRun(name, model, limits, self.decoders, self.gauges) for name, model in models.items()}

    def run(self, name: str | None) -> ServedRun:
        """Return a run by its name; the only one where none is given.

        Raises:
            Refusal: there is no such run, or the name is missing.
        """
        names = ", ".join(self.runs)
        if name is None and len(self.runs) > 1:
            raise Refusal(422, "run", f"several runs are served; name one with the parameter run: {names}")
        found = next(iter(self.runs.values())) if name is None else self.runs.get(name)
        if found is None:
            raise Refusal(404, "run", f"there is no such run here; there is {names}")
        return found

    @asynccontextmanager
    async def lifespan(self, app: FastAPI) -> AsyncIterator[None]:
        """Work while the server does, and finish what has begun."""
        for run in self.runs.values():
            run.thread.start()
        try:
            yield
        finally:
            for run in self.runs.values():
                await asyncio.to_thread(run.thread.close)
                run.lanes.close()
            self.decoders.shutdown()


def make_app(
    models: Mapping[str, AdaptedModel],
    limits: Limits | None = None,
    token: str | None = None,
    hosts: Collection[str] | None = None,
) -> Guard:
    """Return an ASGI application that answers for runs; any server may run it, in one process.

    Args:
        models: what `load` returns, by the names under which clients ask for them; at least one.
        limits: what it takes; none: the usual ones.
        token: what clients must show as `Authorization: Bearer TOKEN`; none: nothing.
        hosts: names in the header Host that it answers to; none: all.
    """
    limits = limits or Limits()
    service = Service(models, limits)
    guarded = [Depends(HTTPBearer(auto_error=False, description="the token of the server"))] if token else []
    app = FastAPI(
        title="acclimate",
        version=__version__,
        description=asked.ABOUT,
        lifespan=service.lifespan,
        docs_url=None,  # its pages come from elsewhere
        redoc_url=None,
        responses=asked.REFUSALS,
    )
    app.state.service = service
    for kind in (Refusal, AcclimateError, RequestValidationError, HTTPException, Exception):
        app.add_exception_handler(kind, answer_error)
    _open_paths(app, service)
    _image_paths(app, service, guarded)
    _other_paths(app, service, guarded)
    return Guard(app, limits, service.gauges, token, hosts, PATHS)


def _open_paths(app: FastAPI, service: Service) -> None:
    @app.get("/", include_in_schema=False)
    async def show() -> HTMLResponse:
        return page()

    @app.get("/health", summary="Whether the server works", responses=asked.HEALTH)
    async def health() -> JSONResponse:
        alive = all(run.thread.alive for run in service.runs.values())
        told = {"status": "ok" if alive else "stopped", "version": __version__, "runs": len(service.runs)}
        return JSONResponse(told, 200 if alive else 503)


def _other_paths(app: FastAPI, service: Service, guarded: list[Any]) -> None:
    @app.get(
        "/runs", summary="The runs, what they can do, and what is taken", dependencies=guarded, responses=asked.RUNS
    )
    async def runs() -> JSONResponse:
        limits = {name: getattr(service.limits, name) for name in ("max_body_mb", "max_pixels", "max_files")}
        return JSONResponse({"runs": [run.describe() for run in service.runs.values()], "limits": limits})

    @app.get(
        "/metrics", summary="Counters for Prometheus", dependencies=guarded, responses=asked.METRICS,
        response_class=Response,
    )  # fmt: skip
    async def metrics() -> Response:
        return Response(service.gauges.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


def _image_paths(app: FastAPI, service: Service, guarded: list[Any]) -> None:
    @app.post(
        "/predict", summary="Label images", dependencies=guarded, openapi_extra=asked.FILES, responses=asked.PREDICTED
    )
    async def predict(
        request: Request,
        run: asked.Run = None,
        coverage: asked.Coverage = None,
        known: asked.Known = asked.UNKNOWN,
        format: asked.Format = "json",
    ) -> Response:
        served = service.run(run)
        work = served.predicting(coverage, known)
        form = await read_form(request, service.limits)
        return _predicted(served, work, await served.say(work, form.files), format)

    @app.post(
        "/explain", summary="Show what counts in an image, as PNG", dependencies=guarded, openapi_extra=asked.FILE,
        responses=asked.EXPLAINED, response_class=Response,
    )  # fmt: skip
    async def explain(
        request: Request, run: asked.Run = None, class_name: asked.ClassName = None, view: asked.View = "beside"
    ) -> Response:
        served = service.run(run)
        work = Explaining(served.model, class_name, view == "beside")
        form = await read_form(request, service.limits)
        if len(form.files) > 1:
            raise Refusal(422, "files", "maps are made of one image a request; send the others on their own")
        drawn = await served.explain(work, form.files[0])
        told = {"class": quote(drawn.class_name), "probability": f"{drawn.probability:.6f}", "how": drawn.how}
        return Response(drawn.png, media_type="image/png", headers={f"X-Acclimate-{k}": v for k, v in told.items()})

    @app.post("/ask", summary="Ask about images", dependencies=guarded, openapi_extra=asked.QUESTION,
              responses=asked.ANSWERED)  # fmt: skip
    async def ask(request: Request, run: asked.Run = None, max_tokens: asked.MaxTokens = 64) -> JSONResponse:
        served = service.run(run)
        form = await read_form(request, service.limits)
        work = served.asking(form.fields.get("question", ""), max_tokens)
        answers = await served.say(work, form.files)
        question = work.task.question
        rows = [{"path": a.path, "question": question, "answer": a.answer, "error": a.error} for a in answers]
        return JSONResponse({"run": served.name, "answers": rows})


def _predicted(served: ServedRun, work: Saying, predictions: list[Any], format: str) -> Response:
    """Return predictions as `predict` prints them, or as it writes them to a file."""
    task, method = work.task, served.model.method
    notes = [note for _, note in task.notes()]
    if format == "json":
        rows = [task.plain(method, one) for one in predictions]
        return JSONResponse({"run": served.name, "notes": notes, "predictions": rows})
    columns, rows = task.columns(method), [task.row(method, one) for one in predictions]
    if format == "table":
        return JSONResponse({"run": served.name, "notes": notes, "columns": list(columns), "rows": rows})
    stream = io.StringIO()
    csv.writer(stream).writerows(
        [csv_cells(dict(zip(columns, columns, strict=True)), columns), *(csv_cells(row, columns) for row in rows)]
    )
    return Response(stream.getvalue(), media_type="text/csv; charset=utf-8")
