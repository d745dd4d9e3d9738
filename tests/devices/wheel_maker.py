"""Real wheels, tiny: what pip would install, made by zipfile."""

import base64
import hashlib
import zipfile

RUNTIME = """\
__version__ = "{version}"

def get_available_providers():
    return ["CPUExecutionProvider"]
"""


def digest(content):
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


def make_wheel(folder, project="tiny", version="1.0", files=None, tags="py3-none-any", record=None, more=()):
    """Write a wheel and return its path.

    Args:
        folder: Where to.
        project: Name of the distribution.
        version: Of it.
        files: Text by path; one module of the project's name unless given.
        tags: Of the file's name.
        record: Lines of its RECORD; the right ones unless given.
        more: Pairs of a ZipInfo and bytes that the RECORD knows, too.
    """
    info = f"{project}-{version}.dist-info"
    if files is None:
        files = {f"{project}/__init__.py": f"__version__ = {version!r}\n"}
    files = {**files, f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {project}\nVersion: {version}\n"}
    files[f"{info}/WHEEL"] = f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tags}\n"
    contents = {name: text.encode() for name, text in files.items()}
    known = {**contents, **{entry.filename: content for entry, content in more}}
    lines = [f"{name},{digest(content)},{len(content)}" for name, content in known.items()]
    path = folder / f"{project}-{version}-{tags}.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
        for entry, content in more:
            archive.writestr(entry, content)
        text = "\n".join([*lines, f"{info}/RECORD,,"] if record is None else record)
        archive.writestr(f"{info}/RECORD", text)
    return path


def make_runtime(folder, version="9.0", tags="py3-none-any"):
    """Write a wheel of something that says of itself that it is onnxruntime."""
    files = {"onnxruntime/__init__.py": RUNTIME.format(version=version)}
    return make_wheel(folder, "onnxruntime", version, files, tags)
