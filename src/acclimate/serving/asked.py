"""What clients may ask for, and what they get, as OpenAPI says it, with examples."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import Query

from acclimate.methods.trust import UNKNOWN
from acclimate.serving.forms import FILES as FIELD
from acclimate.serving.forms import FORM, LONGEST_FIELD

__all__ = ["UNKNOWN"]

ABOUT = (
    "Labels, maps and answers for images, by runs of `acclimate adapt`. Images are sent as multipart/form-data, in "
    f"fields named `{FIELD}`. Whatever is refused is refused in one line, as `error`."
)

Run = Annotated[str | None, Query(description="Name of a run; needed where several are served.", examples=["rocks"])]
Coverage = Annotated[
    float | None,
    Query(
        gt=0, lt=1, description="Add sets of classes that hold the right one for this share of images.", examples=[0.9]
    ),
]
Known = Annotated[
    float, Query(ge=0, lt=1, description="Images with a smaller p-value are called unknown; 0: leave it out.")
]
Format = Annotated[
    Literal["json", "table", "csv"],
    Query(description="json: as `acclimate predict` prints rows; table, csv: as it writes them to files."),
]
ClassName = Annotated[
    str | None, Query(alias="class", description="What counts for this class; else for the most probable one.")
]
View = Annotated[Literal["beside", "map"], Query(description="The image and its map beside it, or the map alone.")]
MaxTokens = Annotated[int, Query(ge=1, le=1024, description="Longest answer in tokens of the model.")]


def _object(properties: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "object", "required": list(properties), "properties": properties, **more}


def _list(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


def _json(description: str, schema: dict[str, Any], example: Any) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema, "example": example}}}


def _form(fields: dict[str, Any], required: list[str]) -> dict[str, Any]:
    schema = {"type": "object", "required": required, "properties": fields}
    return {"requestBody": {"required": True, "content": {FORM: {"schema": schema}}}}


TEXT: dict[str, Any] = {"type": "string"}
NUMBER: dict[str, Any] = {"type": "number"}
_IMAGE: dict[str, Any] = {"type": "string", "format": "binary", "description": "The bytes of an image file."}
_ROW = {"type": "object", "required": ["path", "error"], "properties": {"path": TEXT, "error": TEXT}}

FILES = _form({FIELD: {"type": "array", "minItems": 1, "items": _IMAGE}}, [FIELD])
FILE = _form({FIELD: {"type": "array", "minItems": 1, "maxItems": 1, "items": _IMAGE}}, [FIELD])
QUESTION = _form(
    {
        FIELD: {"type": "array", "minItems": 1, "items": _IMAGE},
        "question": {"type": "string", "minLength": 1, "maxLength": LONGEST_FIELD, "example": "What is in the image?"},
    },
    [FIELD, "question"],
)

_ROWS = {
    "run": "rocks",
    "notes": [],
    "predictions": [
        {
            "path": "a.png",
            "label": "granite",
            "probability": 0.83,
            "probabilities": {"granite": 0.83, "basalt": 0.12, "marble": 0.05},
            "error": "",
            "set": ["granite", "basalt"],
            "set_size": 2,
            "p_known": 0.41,
            "known": True,
        }
    ],
}
_PREDICTIONS = _object({"run": TEXT, "notes": _list(TEXT), "predictions": _list(_ROW)})
_TABLE = _object({"run": TEXT, "notes": _list(TEXT), "columns": _list(TEXT), "rows": _list(_ROW)})
PREDICTED: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "A row for each image, in order; those that could not be read have an `error`.",
        "content": {
            "application/json": {"schema": {"anyOf": [_PREDICTIONS, _TABLE]}, "example": _ROWS},
            "text/csv": {
                "schema": TEXT,
                "example": "path,label,probability,p(granite),error\r\na.png,granite,0.83,0.83,\r\n",
            },
        },
    }
}
EXPLAINED: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The map: dark blue counts for nothing, yellow most.",
        "content": {"image/png": {"schema": {"type": "string", "format": "binary"}}},
        "headers": {
            "X-Acclimate-Class": {"description": "What counts for which class, percent-encoded.", "schema": TEXT},
            "X-Acclimate-Probability": {"description": "That the run gives it.", "schema": TEXT},
            "X-Acclimate-How": {"description": "relevance or occlusion.", "schema": TEXT},
        },
    }
}
_ANSWER = {"path": "a.png", "question": "What is in the image?", "answer": "granite", "error": ""}
ANSWERED: dict[int | str, dict[str, Any]] = {
    200: _json(
        "An answer about each image, in order; those that could not be read have an `error`.",
        _object({"run": TEXT, "answers": _list(_object(dict.fromkeys(_ANSWER, TEXT)))}),
        {"run": "rocks", "answers": [_ANSWER]},
    )
}
_HEALTH = _object({"status": TEXT, "version": TEXT, "runs": {"type": "integer"}})
HEALTH: dict[int | str, dict[str, Any]] = {
    200: _json("It does.", _HEALTH, {"status": "ok", "version": "0.1.0", "runs": 1}),
    503: _json("It does not; start it again.", _HEALTH, {"status": "stopped", "version": "0.1.0", "runs": 1}),
}
_SERVED = {
    "name": "rocks",
    "method": "auto",
    "task": "Classification",
    "classes": ["granite", "basalt", "marble"],
    "able": {"predict": True, "explain": True, "ask": False},
    "sets": True,
}
RUNS: dict[int | str, dict[str, Any]] = {
    200: _json(
        "The runs in the order in which they were named.",
        _object(
            {
                "runs": _list(_object({"name": TEXT, "method": TEXT, "classes": _list(TEXT)})),
                "limits": {"type": "object"},
            }
        ),
        {"runs": [_SERVED], "limits": {"max_body_mb": 64.0, "max_pixels": 50_000_000, "max_files": 64}},
    )
}
METRICS: dict[int | str, dict[str, Any]] = {
    200: {"description": "Text format 0.0.4.", "content": {"text/plain": {"schema": TEXT}}}
}

_ERROR = _object({"error": TEXT})
_REASONS = {
    400: (
        "The request cannot be read.",
        "the form cannot be read (Missing boundary in multipart); send multipart/form-data",
    ),
    401: ("The token is missing or wrong.", "this server asks for a token; send it as Authorization: Bearer TOKEN"),
    403: ("Asked under a foreign name, or from a page elsewhere.", "pages from elsewhere may not ask this server"),
    404: ("There is no such run.", "there is no such run here; there is rocks"),
    408: ("The request came too slowly.", "the request has not arrived within 30 s; send fewer images"),
    413: ("Too much.", "a request has at most 64 MB; send fewer images"),
    415: ("No form.", f"send images as {FORM}, in fields named {FIELD}"),
    422: (
        "Not to be answered.",
        "cannot read image 'a.png': it is not an image of a known format; replace it or leave it out",
    ),
    500: ("The server's fault.", "the server failed on this request (RuntimeError); its log says why"),
    503: ("Busy; Retry-After says when to try again.", "256 images wait already; try again in 2 seconds"),
}
REFUSALS: dict[int | str, dict[str, Any]] = {
    status: _json(description, _ERROR, {"error": line}) for status, (description, line) in _REASONS.items()
}
