"""Forms that clients send: images and a few fields, read from the body of a request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fastapi import Request
from python_multipart.exceptions import FormParserError
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException

from acclimate.counting import counted
from acclimate.errors import brief
from acclimate.serving.limits import Limits
from acclimate.serving.refusals import Refusal
from acclimate.serving.upload import Upload

FORM = "multipart/form-data"
FILES = "files"  # the field that has the images
OTHER_FIELDS, LONGEST_FIELD = 8, 2**16
LONGEST_NAME = 200


@dataclass(frozen=True)
class Form:
    """What a request holds."""

    files: Sequence[Upload]
    fields: Mapping[str, str]


async def read_form(request: Request, limits: Limits) -> Form:
    """Return the images and the other fields of a request; nothing of them is decoded.

    Raises:
        Refusal: it is no form, damaged, or holds no image, or too many.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != FORM:
        raise Refusal(415, "type", f"send images as {FORM}, in fields named {FILES}")
    try:
        form = await request.form(max_files=limits.max_files, max_fields=OTHER_FIELDS, max_part_size=LONGEST_FIELD)
    except (HTTPException, FormParserError) as error:
        raise _refused(error.detail if isinstance(error, HTTPException) else str(error), limits) from error
    try:
        files = [await _upload(file, number) for number, file in enumerate(_files(form), start=1)]
    finally:
        await form.close()
    if not files:
        raise Refusal(422, "empty", f"there is no image in the request; send some in fields named {FILES}")
    return Form(files, {name: value for name, value in form.multi_items() if isinstance(value, str)})


def _refused(said: str, limits: Limits) -> Refusal:
    """Return what a client is told of a form that cannot be read, from what its reader says."""
    if said.startswith("Too many files"):
        most = counted(limits.max_files, "file")
        return Refusal(413, "files", f"more than {most} in a request; send them in several")
    return Refusal(400, "form", f"the form cannot be read ({said.rstrip('.')}); send {FORM}")


def _files(form: FormData) -> list[UploadFile]:
    others = [name for name, value in form.multi_items() if isinstance(value, UploadFile) and name != FILES]
    if others:
        raise Refusal(422, "field", f"there is a file in the field {brief(others[0])!r}; name the fields {FILES}")
    return [file for file in form.getlist(FILES) if isinstance(file, UploadFile)]


async def _upload(file: UploadFile, number: int) -> Upload:
    name = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in file.filename or "")
    return Upload(brief(name, LONGEST_NAME) or f"image {number}", await file.read())
