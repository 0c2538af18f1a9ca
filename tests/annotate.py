#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Uses the page examples/annotate/annotate.html as a person does, in Chromium.

    python3 tests/annotate.py [TRAIN]

Opens a folder of pictures, draws, erases and undoes with mouse, pen, fingers
and keyboard, closes the tab, continues, saves, and reads what was saved. TRAIN
is the program of that name: it then trains a network on these files.

Needs Python 3.10 and Chromium, and nothing else. Where Chromium is missing, it
prints the reason and ends with status 77.
"""
import base64
import csv
import functools
import http.server
import io
import json
import math
import os
import random
import select
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
import zlib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "examples" / "annotate" / "annotate.html"
SKIPPED = 77

# 40 x 20 grey pixels, dark in the upper left corner, with the EXIF orientation
# 6: a browser shows 20 x 40 pixels, dark in the upper right corner.
TURNED = base64.b64decode(
    "/9j/4AAQSkZJRgABAQAAAQABAAD/4QAiRXhpZgAATU0AKgAAAAgAAQESAAMAAAABAAYAAA"
    "AAAAD/2wBDAA0JCgsKCA0LCgsODg0PEyAVExISEyccHhcgLikxMC4pLSwzOko+MzZGNywt"
    "QFdBRkxOUlNSMj5aYVpQYEpRUk//wAALCAAUACgBAREA/8QAGAABAQADAAAAAAAAAAAAAA"
    "AAAAUDBgf/xAAmEAABBAABDQAAAAAAAAAAAAAAAQIEEQMFBhITFiE2VGGCo7LR/9oACAEB"
    "AAA/ANJOnZn8MQ+/3cWgCLsnkLkfK/6VIcTAgxWRorNXgsvRbarVra716qZgAAAf/9k=")


class Skip(Exception):
    """Why nothing can be tested here."""


def expect(found, wanted, what):
    if found != wanted:
        raise AssertionError(f"{what}: expected {wanted!r}, got {found!r}")


# ------------------------------------------------------------------- Chromium


class Browser:
    """A headless Chromium, spoken to through a pipe (DevTools protocol)."""

    def __init__(self, folder):
        names = ("chromium", "chromium-browser", "google-chrome",
                 "google-chrome-stable", "chrome")
        program = next(filter(None, map(shutil.which, names)), None)
        if program is None:
            raise Skip("Chromium was not found: none of " + ", ".join(names))
        theirs_in, self.to = os.pipe()
        self.come, theirs_out = os.pipe()
        # Chromium reads file 3 and writes file 4.
        script = 'exec "$@" 3<"$IN" 4>"$OUT"'
        self.log = folder / "chromium.log"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                ["sh", "-c", script, "sh", program, "--headless=new",
                 "--no-sandbox", "--disable-gpu", "--no-first-run",
                 "--disable-dev-shm-usage", "--remote-debugging-pipe",
                 f"--user-data-dir={folder / 'profile'}", "about:blank"],
                env={**os.environ, "IN": f"/dev/fd/{theirs_in}",
                     "OUT": f"/dev/fd/{theirs_out}"},
                pass_fds=(theirs_in, theirs_out), stdout=log, stderr=log)
        os.close(theirs_in)
        os.close(theirs_out)
        self.number = 0
        self.rest = b""
        self.session = None
        self.errors = []
        try:
            targets = self.call("Target.getTargets")["targetInfos"]
            page = next(t for t in targets if t["type"] == "page")
            self.session = self.call("Target.attachToTarget", flatten=True,
                                     targetId=page["targetId"])["sessionId"]
        except (OSError, EOFError, TimeoutError) as error:
            raise Skip(f"Chromium does not start ({error}): " + self.log.read_text(
                errors="replace")[-500:]) from error
        self.call("Runtime.enable")
        self.call("Page.enable")
        # The same size everywhere, so that each try draws the same strokes.
        self.call("Emulation.setDeviceMetricsOverride", width=1000, height=700,
                  deviceScaleFactor=1, mobile=False)
        self.call("Emulation.setTouchEmulationEnabled", enabled=True)

    def message(self):
        while b"\0" not in self.rest:
            if not select.select([self.come], [], [], 30)[0]:
                raise TimeoutError("Chromium does not answer for 30 s")
            some = os.read(self.come, 1 << 20)
            if not some:
                raise EOFError("Chromium ended")
            self.rest += some
        text, self.rest = self.rest.split(b"\0", 1)
        return json.loads(text)

    def call(self, method, **parameters):
        self.number += 1
        request = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            request["sessionId"] = self.session
        os.write(self.to, json.dumps(request).encode() + b"\0")
        while True:
            answer = self.message()
            if answer.get("id") == self.number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]
            if answer.get("method") == "Runtime.exceptionThrown":
                self.errors.append(answer["params"]["exceptionDetails"])

    def value(self, expression):
        """The value of an expression of the page's."""
        result = self.call("Runtime.evaluate", expression=expression,
                           awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in result:
            raise RuntimeError(json.dumps(result["exceptionDetails"])[:2000])
        return result["result"].get("value")

    def wait(self, expression, what):
        for _ in range(600):
            if self.value(expression):
                return
            time.sleep(0.05)
        raise AssertionError(f"{what}: not so after 30 s; the message is "
                             f"{self.value(MESSAGE)!r}")

    def close(self):
        try:
            self.session = None
            self.call("Browser.close")
        except (OSError, EOFError, TimeoutError, RuntimeError):
            pass
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.close(self.to)
        os.close(self.come)


MESSAGE = "$('message').open ? $('message').innerText : ''"


class Person:
    """What a person does with the page."""

    def __init__(self, browser):
        self.browser = browser

    def open_page(self, url):
        self.browser.call("Page.navigate", url=url)
        self.browser.wait("document.readyState === 'complete' && "
                          "typeof store === 'object' && store.base !== null",
                          "the page is there")

    def give(self, selector, path):
        root = self.browser.call("DOM.getDocument")["root"]["nodeId"]
        node = self.browser.call("DOM.querySelector", nodeId=root,
                                 selector=selector)["nodeId"]
        self.browser.call("DOM.setFileInputFiles", nodeId=node, files=[str(path)])

    def open_folder(self, path):
        self.give("#pick-folder", path)

    def picture_is_there(self, path):
        self.browser.wait(f"current.picture?.path === {json.dumps(path)} && "
                          "(current.bitmap !== null || current.picture.failure)",
                          f"{path} is open")

    def key(self, key, modifiers=0, text=""):
        for kind in ("keyDown", "keyUp"):
            self.browser.call("Input.dispatchKeyEvent", type=kind, key=key,
                              modifiers=modifiers,
                              **({"text": text} if text and kind == "keyDown" else {}))

    def write(self, selector, text):
        self.browser.value(f"document.querySelector('{selector}').focus()")
        self.browser.call("Input.insertText", text=text)
        self.key("Enter", text="\r")

    def click(self, expression):
        x, y = self.browser.value(
            f"(() => {{ const b = ({expression}).getBoundingClientRect();"
            "return [b.x + b.width / 2, b.y + b.height / 2]; })()")
        for kind in ("mousePressed", "mouseReleased"):
            self.browser.call("Input.dispatchMouseEvent", type=kind, x=x, y=y,
                              button="left", clickCount=1)

    def on_stage(self, x, y):
        """Where a point of the stored picture is on the screen."""
        return self.browser.value(
            "(() => { const b = stage.getBoundingClientRect(); const p ="
            f"stageMatrix().transformPoint({{x: {x}, y: {y}}});"
            "return [p.x + b.x, p.y + b.y]; })()")

    def stroke(self, *points, pen=False, button="left", slow_end=False):
        places = [self.on_stage(*point) for point in points]
        number = {"left": 1, "middle": 4}[button]
        kinds = ["mousePressed"] + ["mouseMoved"] * (len(places) - 1)
        pointer = "pen" if pen else "mouse"
        for kind, (x, y) in zip(kinds, places):
            self.browser.call("Input.dispatchMouseEvent", type=kind, x=x, y=y,
                              button=button, buttons=number, clickCount=1,
                              pointerType=pointer)
        if slow_end:
            self.browser.call("Emulation.setCPUThrottlingRate", rate=10)
        self.browser.call("Input.dispatchMouseEvent", type="mouseReleased", x=x,
                          y=y, button=button, clickCount=1, pointerType=pointer)

    def touch(self, *moments):
        """Fingers: the points of each moment, one for each finger."""
        for i, points in enumerate(moments):
            places = [self.on_stage(*point) for point in points]
            self.browser.call(
                "Input.dispatchTouchEvent",
                type="touchStart" if i == 0 else "touchMove",
                touchPoints=[{"x": x, "y": y, "id": n}
                             for n, (x, y) in enumerate(places)])
        self.browser.call("Input.dispatchTouchEvent", type="touchEnd",
                          touchPoints=[])

    def strokes(self):
        return self.browser.value(
            "current.picture.record.strokes.map((stroke) => stroke.tool).join()")

    def message(self):
        """The text of the message, which is then closed."""
        self.browser.wait("$('message').open", "there is a message")
        text = self.browser.value(MESSAGE)
        self.click("$('message-close')")
        self.browser.wait("!$('message').open", "the message is closed")
        return text


# ------------------------------------------------------------------- pictures


def png(width, height, value):
    """A grey PNG; value(x, y) in 0..255."""
    rows = b"".join(b"\0" + bytes(value(x, y) for x in range(width))
                    for y in range(height))
    def chunk(name, data):
        return (struct.pack(">I", len(data)) + name + data +
                struct.pack(">I", zlib.crc32(name + data)))
    return (b"\x89PNG\r\n\x1a\n" +
            chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)) +
            chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def bmp(width, height, value):
    """A BMP of 24 bits, grey; width a multiple of 4."""
    rows = b"".join(bytes([value(x, y)] * 3) for y in reversed(range(height))
                    for x in range(width))
    return struct.pack("<2sIHHIIiiHHIIiiII", b"BM", 54 + len(rows), 0, 0, 54, 40,
                       width, height, 1, 24, 0, len(rows), 0, 0, 0, 0) + rows


def read_png(data):
    """(width, height, rows, chunks) of a grey PNG of 8 bits without filters."""
    expect(data[:8], b"\x89PNG\r\n\x1a\n", "the signature of a map")
    at, chunks = 8, {}
    while at < len(data):
        (length,) = struct.unpack(">I", data[at:at + 4])
        name, body = data[at + 4:at + 8], data[at + 8:at + 8 + length]
        (crc,) = struct.unpack(">I", data[at + 8 + length:at + 12 + length])
        expect(crc, zlib.crc32(name + body), f"the checksum of {name}")
        chunks[name] = body
        at += 12 + length
    width, height, depth, kind = struct.unpack(">IIBB", chunks[b"IHDR"][:10])
    expect((depth, kind), (8, 0), "depth and kind of a map")
    pixels = zlib.decompress(chunks[b"IDAT"])
    expect(len(pixels), height * (width + 1), "the bytes of a map")
    rows = [pixels[y * (width + 1) + 1:(y + 1) * (width + 1)]
            for y in range(height)]
    return width, height, rows, chunks


def painted(width, height, strokes):
    """The map of strokes: the pixels at most a radius away from a line."""
    rows = [bytearray(width) for _ in range(height)]
    for stroke in strokes:
        if stroke["tool"] == "clear":
            rows = [bytearray(width) for _ in range(height)]
            continue
        points = [point[:2] for point in stroke["points"]]
        lines = list(zip(points, points[1:])) or [(points[0], points[0])]
        radius = stroke["diameter"] / 2
        for y in range(height):
            for x in range(width):
                for (ax, ay), (bx, by) in lines:
                    px, py, dx, dy = x + 0.5 - ax, y + 0.5 - ay, bx - ax, by - ay
                    long = dx * dx + dy * dy
                    t = min(1, max(0, (px * dx + py * dy) / long)) if long else 0
                    if math.hypot(px - t * dx, py - t * dy) <= radius + 1e-9:
                        rows[y][x] = 255 if stroke["tool"] == "brush" else 0
                        break
    return [bytes(row) for row in rows]


ODD = 'a, "b" ü 日本.png'  # commas, quotes and more than ASCII


def write_pictures(folder):
    """Eight pictures of two classes, one damaged, and one that is no PNG."""
    def square(seed, left, top):
        return lambda x, y: (240 if left <= x < left + 8 and top <= y < top + 8
                             else (x * 7 + y * 13 + seed * 31) % 90)
    files = {
        "train/Real/1.png": png(48, 32, square(1, 4, 4)),
        f"train/Real/{ODD}": png(40, 40, square(2, 5, 5)),
        "train/Real/broken.png": png(8, 8, lambda x, y: x)[:50],
        "train/Real/scan.tif": b"II*\0",
        "train/Synthetic/1.png": png(32, 48, square(3, 20, 30)),
        "train/Synthetic/turned.jpg": TURNED,
        "val/Real/same.bmp": bmp(32, 32, square(4, 6, 4)),
        "val/Real/same.png": png(32, 32, square(5, 5, 6)),
        "val/Synthetic/2.png": png(36, 30, square(6, 20, 16)),
    }
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


# ----------------------------------------------------------------- what is done


def draw(person, folder):
    """Draws on a folder, is closed, and continues."""
    browser = person.browser
    person.open_folder(folder)
    person.picture_is_there("train/Real/1.png")
    expect(browser.value("work.pictures.length"), 8, "the pictures of the list")
    listed = browser.value("$('list').innerText")
    if "scan.tif: train reads PNG, JPEG and BMP" not in listed:
        raise AssertionError("scan.tif is not listed with a reason: " + listed)
    person.write("#annotator", 'Ann, "A."')

    # The brush; undo and redo.
    person.stroke((10.4, 10), (30, 10), (30, 20))
    person.stroke((40, 28), (44, 28))
    expect(person.strokes(), "brush,brush", "two strokes")
    person.key("z", modifiers=2)
    expect(person.strokes(), "brush", "after undo")
    person.key("Z", modifiers=2 | 8)
    expect(person.strokes(), "brush,brush", "after redo")
    person.key("z", modifiers=2)
    # A stroke beside the picture is none; the middle button moves the picture.
    person.stroke((-20, -3), (-15, -3))
    person.stroke((10, 10), (12, 12), button="middle")
    expect(person.strokes(), "brush", "after a stroke beside the picture")

    # The eraser, and a larger brush.
    person.key("ArrowRight")
    person.picture_is_there(f"train/Real/{ODD}")
    for _ in range(4):
        person.key("]")
    person.stroke((10, 20), (30, 20))
    person.key("e")
    person.stroke((20, 10), (20, 30))
    person.key("b")
    expect(person.strokes(), "brush,eraser", "a stroke and the eraser")
    # All is removed, and comes back.
    person.key("Delete")
    expect(person.strokes(), "brush,eraser,clear", "after Delete")
    person.key("z", modifiers=2)

    # A damaged file says so, and takes no strokes.
    person.key("PageDown")
    person.picture_is_there("train/Real/broken.png")
    notes = browser.value("$('notes').innerText")
    if "cannot decode this PNG" not in notes:
        raise AssertionError("no reason for a damaged picture: " + notes)

    # Fingers: one draws, two zoom and draw nothing.
    person.key("n")
    person.picture_is_there("train/Synthetic/1.png")
    scale = browser.value("view.scale")
    person.touch([(10, 10), (14, 10)], [(8, 10), (20, 10)], [(6, 10), (26, 10)])
    expect(person.strokes(), "", "after two fingers")
    if not browser.value("view.scale") > 1.5 * scale:
        raise AssertionError("two fingers do not zoom")
    person.key("0")
    person.touch([(20, 30)], [(24, 34)], [(26, 40)])
    expect(person.strokes(), "brush", "after one finger")

    # A picture with a tag that turns it: upright on the screen, its strokes are
    # those of the stored pixels.
    person.key("n")
    person.picture_is_there("train/Synthetic/turned.jpg")
    expect(browser.value("[current.bitmap.width, current.bitmap.height]"), [40, 20],
           "the stored size of a turned picture")
    (x0, y0), (x1, y1) = person.on_stage(0, 0), person.on_stage(40, 0)
    if not (abs(x0 - x1) < 1 and y1 > y0):
        raise AssertionError("a turned picture is not shown upright")
    colours = browser.value(  # the stored corner is dark, and so is the seen one
        "(() => { const b = stage.getBoundingClientRect();"
        "const see = (x, y) => pictureCanvas.getContext('2d').getImageData("
        "Math.round(x - b.x), Math.round(y - b.y), 1, 1).data[0];"
        f"return [see({x0} - 9, {y0} + 9), see({x1} - 9, {y1} - 9)]; }})()")
    if not (colours[0] < 90 and colours[1] > 160):
        raise AssertionError(f"a turned picture has its corner elsewhere: {colours}")
    if "EXIF orientation 6" not in browser.value("$('notes').innerText"):
        raise AssertionError("no note about a turned picture")
    person.stroke((5, 5), (5, 6))

    # Drawn, and all of it erased again.
    person.key("n")
    person.picture_is_there("val/Real/same.bmp")
    person.stroke((10, 10), (20, 10), pen=True)
    person.key("n")
    person.picture_is_there("val/Real/same.png")
    person.stroke((8, 9))
    person.key("n")
    person.picture_is_there("val/Synthetic/2.png")
    person.stroke((18, 18))
    person.key("e")
    for _ in range(6):
        person.key("]")
    person.stroke((18, 18))
    person.key("b")
    expect(person.strokes(), "brush,eraser", "drawn and erased")


def comes_back(person, folder, url, place):
    """Opens page and folder again, and continues what is kept in `place`."""
    browser = person.browser
    person.open_page(url)
    person.open_folder(folder)
    browser.wait("$('resume').open", "the question which session to continue")
    offered = browser.value("$('sessions').firstChild.innerText")
    if not ('Ann, "A."' in offered and place in offered and "of 8 pictures" in offered):
        raise AssertionError("another session is offered: " + offered)
    person.click("$('sessions').firstChild.querySelector('button.main')")
    browser.wait("current.bitmap !== null || current.picture?.failure",
                 "a picture after continuing")


def closes_at_once(person, folder, url):
    """A tab that is closed right after a stroke keeps it, on a slow computer."""
    browser = person.browser
    folder.mkdir()
    (folder / "a.png").write_bytes(png(40, 30, lambda x, y: x))
    for i in range(4):
        person.open_page(url)
        person.open_folder(folder)
        if i > 0:
            browser.wait("$('resume').open", "the question which session to continue")
            person.click("$('sessions').firstChild.querySelector('button.main')")
        person.picture_is_there("a.png")
        expect(browser.value("current.picture.record.strokes.length"), i,
               "the strokes after closing")
        person.stroke((5, 5), (20, 5 + i), slow_end=True)
        browser.call("Page.navigate", url="about:blank")
        browser.call("Emulation.setCPUThrottlingRate", rate=1)


def pictures_change(person, folder, url, downloads):
    """A picture that is another one now gets no map, and its strokes are kept."""
    browser = person.browser
    (folder / "a.png").write_bytes(png(30, 40, lambda x, y: y))
    (folder / "b.png").write_bytes(png(30, 40, lambda x, y: x))
    person.open_page(url)
    person.open_folder(folder)
    browser.wait("$('resume').open", "the question which session to continue")
    # The same session in a second tab.
    tab = browser.session
    browser.session = None
    other = browser.call("Target.createTarget", url=url)["targetId"]
    second = browser.call("Target.attachToTarget", targetId=other,
                          flatten=True)["sessionId"]
    browser.session = tab
    person.click("$('sessions').firstChild.querySelector('button.main')")
    person.picture_is_there("b.png")  # the first one without strokes
    browser.session = second
    browser.wait("document.readyState === 'complete' && typeof store === 'object' && "
                 "store.base !== null", "the second tab is there")
    person.open_folder(folder)
    browser.wait("$('resume').open", "the question in the second tab")
    browser.value("$('sessions').firstChild.querySelector('button.main').click()")
    browser.wait(f"({MESSAGE}).includes('open in another tab')",
                 "the second tab refuses the session")
    browser.session = None
    browser.call("Target.closeTarget", targetId=other)
    browser.session = tab
    archive, message = save(person, downloads)
    if "1 picture with a problem" not in message or "40 × 30 when" not in message:
        raise AssertionError("no word about a picture that is another one: " + message)
    expect([name for name in archive.namelist() if "maps/" in name], [],
           "the maps of a picture that is another one")
    name = next(name for name in archive.namelist() if name.endswith(".json"))
    (picture,) = [p for p in json.loads(archive.read(name))["pictures"]
                  if p["path"] == "a.png"]
    expect((len(picture["strokes"]), picture["width"]), (4, 40), "the kept strokes")


def save(person, downloads):
    """Saves with Ctrl+S; the zip, and the message."""
    for former in downloads.glob("*.zip"):
        former.unlink()
    person.key("s", modifiers=2)
    person.browser.wait("$('where').open", "the question where to save")
    person.click("$('where-zip')")
    message = person.message()
    for _ in range(100):
        for file in downloads.glob("*.zip"):
            return zipfile.ZipFile(io.BytesIO(file.read_bytes())), message
        time.sleep(0.05)
    raise AssertionError("no zip was downloaded: " + message)


def check_saved(archive, message, folder):
    """Looks at all that was saved, and unpacks it into the folder."""
    expect(archive.testzip(), None, "the checksums of the zip")
    home = "annotations-Ann-A/"
    maps = {
        "train/Real/1.png": "train/Real/1.png",
        f"train/Real/{ODD}": f"train/Real/{ODD}",
        "train/Synthetic/1.png": "train/Synthetic/1.png",
        "train/Synthetic/turned.jpg": "train/Synthetic/turned.png",
        "val/Real/same.bmp": "val/Real/same.bmp.png",
        "val/Real/same.png": "val/Real/same.png.png",
    }
    expect(sorted(archive.namelist()),
           sorted([home + "maps/" + name for name in maps.values()] +
                  [home + name for name in
                   ("annotations.csv", "annotations.json", "times.csv")]),
           "the files of the zip")
    for part in ("1 picture with nothing left after erasing",
                 "1 picture with a problem, so not in the table: "
                 "train/Real/broken.png", "--saliency does not find it"):
        if part not in message:
            raise AssertionError(f"the message lacks {part!r}: {message}")
    data = json.loads(archive.read(home + "annotations.json"))
    expect((data["annotator"], data["classes"], data["folder"]),
           ('Ann, "A."', ["Real", "Synthetic"], folder.name), "the JSON")
    expect(len(data["pictures"]), 8, "the pictures of the JSON")
    sizes = {"train/Real/1.png": (48, 32), "train/Synthetic/turned.jpg": (40, 20)}
    for picture in data["pictures"]:
        path = picture["path"]
        if path not in maps:
            expect(picture["map"], None, f"the map of {path}")
            continue
        width, height, rows, chunks = read_png(
            archive.read(home + "maps/" + maps[path]))
        expect((width, height), sizes.get(path, (width, height)), f"size of {path}")
        expect((width, height), (picture["width"], picture["height"]),
               f"size of the map of {path}")
        expect(rows, painted(width, height, picture["strokes"]),
               f"the map of {path}")
        expect(b"eXIf" in chunks, path.endswith("turned.jpg"), f"tag of {path}")
    # What the person did, in numbers: (30, 10) is on the stroke, and (40, 28),
    # which was undone, is not.
    rows = read_png(archive.read(home + "maps/train/Real/1.png"))[2]
    expect((rows[10][30], rows[15][30], rows[28][40]), (255, 255, 0), "1.png")
    rows = read_png(archive.read(home + "maps/train/Real/" + ODD))[2]
    expect((rows[20][12], rows[20][20]), (255, 0), "erased in the middle")
    rows = read_png(archive.read(home + "maps/train/Synthetic/turned.png"))[2]
    expect((rows[5][5], rows[5][34]), (255, 0), "the turned picture")
    first = data["pictures"][0]["strokes"][0]
    if not (first["points"][0][2] == 0 and first["points"][-1][2] >= 0 and
            abs(first["points"][0][0] - 10.4) < 0.15 and
            data["pictures"][0]["seconds"] > 0):
        raise AssertionError(f"times or places of a stroke: {first}")

    table = list(csv.reader(io.StringIO(
        archive.read(home + "annotations.csv").decode())))
    expect(table[0], ["split", "class", "path", "saliency"], "the header")
    expect(sorted(table[1:]), sorted(
        [path.split("/")[0], path.split("/")[1], "../" + path,
         "maps/" + maps[path] if path in maps else ""]
        for path in [*maps, "val/Synthetic/2.png"]), "the table")
    times = list(csv.DictReader(io.StringIO(
        archive.read(home + "times.csv").decode())))
    expect({row["annotator"] for row in times}, {'Ann, "A."'}, "times.csv")
    archive.extractall(folder)


def check_functions(browser):
    """Parts of the page, with many values."""
    # The browser turns pictures as the page does, for each orientation.
    at = TURNED.index(bytes([1, 0x12, 0, 3, 0, 0, 0, 1, 0, 6])) + 9
    turned = browser.value(
        "(async () => { const right = [];"
        f"const bytes = Uint8Array.from(atob('{base64.b64encode(TURNED).decode()}'),"
        "  (c) => c.charCodeAt(0));"
        "for (let orientation = 1; orientation <= 8; ++orientation) {"
        f"  bytes[{at}] = orientation;"
        "  const file = new File([bytes], 'a.jpg', {type: 'image/jpeg'});"
        "  const seen = await createImageBitmap(file);"
        "  const ours = await decode(file);"
        "  const canvas = new OffscreenCanvas(seen.width, seen.height);"
        "  const context = canvas.getContext('2d');"
        "  context.drawImage(seen, 0, 0);"
        "  const matrix = new DOMMatrix(uprightMatrix(orientation, 40, 20));"
        "  const grey = (x, y) => { const p = matrix.transformPoint({x, y});"
        "    return context.getImageData(p.x - .5, p.y - .5, 1, 1).data[0]; };"
        "  right.push([ours.orientation, ours.bitmap.width, grey(5.5, 5.5) < 90,"
        "    grey(34.5, 5.5) > 160, grey(5.5, 14.5) > 160, grey(34.5, 14.5) > 160]);"
        "} return right; })()")
    expect(turned, [[o, 40, True, True, True, True] for o in range(1, 9)],
           "pictures of all orientations")
    # Strokes are painted exactly, wherever they are.
    chance = random.Random(19)
    strokes = [{"tool": chance.choice(["brush", "brush", "eraser"]),
                "diameter": chance.choice([0.5, 1, 2.4, 7, 15.5]),
                "points": [[round(chance.uniform(-9, 49), 2),
                            round(chance.uniform(-9, 39), 2), 0]
                           for _ in range(chance.randint(1, 4))]}
               for _ in range(60)]
    strokes.append({"tool": "brush", "diameter": 3,  # along a line of pixels
                    "points": [[3, 2.5, 0], [9, 2.5, 0], [9, 2.5, 0], [9, 8, 0]]})
    for some in (strokes[:9], strokes[9:30], strokes[30:]):
        record = json.dumps({"width": 40, "height": 30, "strokes": some})
        rows = browser.value(f"Array.from(mapOf({record}))")
        expect(b"".join(painted(40, 30, some)), bytes(rows), "painted strokes")
    # Names.
    expect(browser.value(r"csvOf([['a', ' b', 'c\t', 'd,e', 'f \"g\"', 'h i', '']])"),
           'a," b","c\t","d,e","f ""g""",h i,\n', "a row of a CSV")
    rows = [["a\nb", ' "c" ', "d,e;f", "\tg", "h\r", "ü"], ["1", "", "", "", "", ""]]
    text = browser.value(f"csvOf({json.dumps(rows)})")
    expect(list(csv.reader(io.StringIO(text, newline=""))), rows, "a CSV")
    paths = ["d/a.png", "d/A.JPG", "e/a.png", "a.png", "b.c.png", "b.png", "e/x",
             "d/a.png.bmp"]
    names = browser.value(f"[...mapPaths({json.dumps(paths)}).values()]")
    expect(sorted(names), [
        "maps/a.png", "maps/b.c.png", "maps/b.png", "maps/d/A.JPG.png",
        "maps/d/a.png-2.png", "maps/d/a.png.png", "maps/e/a.png",
        "maps/e/x.png"], "the paths of maps")
    meaning = browser.value(
        "[['train/Real/a.png', 'x'], ['Validation/b/c/a.png', 'x'],"
        " ['Real/a.png', 'test'], ['Real/a.png', 'x'], ['a.png', 'x'],"
        " ['p/q/a.png', 'x'], ['y/dev/Z/a.png', 'x']].map(([path, root]) =>"
        " Object.values(meaningOf(path, root)))")
    expect(meaning, [["train", "Real"], ["val", "b"], ["test", "Real"], ["", "Real"],
                     ["", ""], ["", ""], ["val", "Z"]], "what folders mean")


def check_wrong_files(person, folder):
    """Files that are not a whole session change nothing."""
    good = (folder.parent / "good.json").read_text()
    other = json.loads(good)
    for picture in other["pictures"]:
        picture["path"] = "elsewhere/" + picture["path"]
    point = json.loads(good)
    point["pictures"][0]["strokes"][0]["points"][1] = [1, None, 3]
    newer = {**json.loads(good), "version": 99}
    before = person.browser.value("JSON.stringify(work.pictures.map((p) => p.record))")
    for text, reason in (
            (good[:len(good) // 2], "no whole JSON file"),
            ("[1, 2]", "format: expected"),
            (json.dumps(point), "pictures[0].strokes[0].points[1]: expected "
                                "[x, y, ms], got [1,null,3]"),
            (json.dumps(newer), "newer version"),
            (json.dumps(other), "is about other pictures")):
        wrong = folder.parent / "wrong.json"
        wrong.write_text(text)
        person.give("#pick-json", wrong)
        message = person.message()
        if reason not in message or "Nothing was changed" not in message:
            raise AssertionError(f"expected {reason!r}, got {message!r}")
    after = person.browser.value("JSON.stringify(work.pictures.map((p) => p.record))")
    strip = lambda text: [{**r, "seconds": 0} for r in json.loads(text)]
    expect(strip(after), strip(before), "the strokes after wrong files")


def check_folder_access(person):
    """Saves into a folder that the page may write: files, and what is left."""
    browser = person.browser
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass
    with http.server.ThreadingHTTPServer(
            ("127.0.0.1", 0), functools.partial(
                Quiet, directory=str(PAGE.parent))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        person.open_page(f"http://127.0.0.1:{server.server_port}/{PAGE.name}")
        picture = base64.b64encode(png(20, 10, lambda x, y: x)).decode()
        browser.value(
            "(async () => { const root = await navigator.storage.getDirectory();"
            "globalThis.faces = await root.getDirectoryHandle("
            "'faces', {create: true});"
            f"const bytes = Uint8Array.from(atob('{picture}'), (c) => c.charCodeAt(0));"
            "for (const name of ['a.png', 'b.png'])"
            "  await writeFile(faces, name, new Blob([bytes]));"
            "await writeFile(faces, 'annotations/annotations.json',"
            "  new Blob(['{\"half\": ']));"
            "await openEntries('faces', await entriesOfHandle(faces), null); })()")
        # Another's file, which is damaged, is left as it is.
        browser.wait("$('resume').open", "the question about a damaged file")
        if "cannot be continued" not in browser.value("$('resume').innerText"):
            raise AssertionError("no word about the damaged file")
        person.click("$('resume-new')")
        person.picture_is_there("a.png")
        for name in ("Live", "Spoof"):
            person.write("#new-class", name)
        browser.value("document.activeElement.blur()")
        person.key("1")
        person.stroke((5, 5), (9, 5))
        person.key("ArrowRight")
        person.picture_is_there("b.png")
        person.key("2")
        person.stroke((5, 5), (9, 5))
        files = ("(async () => { const found = {};"
                 "for (const entry of await entriesOfHandle(faces))"
                 "  found[entry.path] = await (await entry.open()).text();"
                 "return found; })()")
        # The folder is asked for once. Headless, nobody can choose in a window of
        # the system's.
        for chosen in ("await faces.getDirectoryHandle('annotations')", "faces"):
            browser.value(f"(async () => {{ const chosen = {chosen};"
                          "globalThis.showDirectoryPicker = async () => chosen; })()")
            person.key("s", modifiers=2)
            browser.wait("$('where').open", "the question where to save")
            person.click("$('where-folder')")
            message = person.message()
            if chosen != "faces" and "does not hold a.png" not in message:
                raise AssertionError("another folder is taken: " + message)
        found = browser.value(files)
        expect(sorted(found), ["a.png", "annotations-2/annotations.csv",
                               "annotations-2/annotations.json",
                               "annotations-2/maps/a.png",
                               "annotations-2/maps/b.png",
                               "annotations-2/times.csv",
                               "annotations/annotations.json", "b.png"],
               "the saved files; the message was " + message)
        expect(found["annotations/annotations.json"], '{"half": ', "the damaged file")
        expect(found["annotations-2/annotations.csv"],
               "split,class,path,saliency\ntrain,Live,../a.png,maps/a.png\n"
               "train,Spoof,../b.png,maps/b.png\n", "the table")
        # A stroke that is undone: its map goes.
        person.key("z", modifiers=2)
        person.key("s", modifiers=2)
        person.message()
        found = browser.value(files)
        expect([name for name in found if "maps/" in name],
               ["annotations-2/maps/a.png"], "the maps after undo")
        server.shutdown()


def train(program, folder):
    """Trains the demo's network for an epoch on what was saved."""
    table = folder / "annotations-Ann-A" / "annotations.csv"
    out = folder.parent / "run"
    common = ["--data", table, "--size", "32", "32", "--channels", "1",
              "--threads", "1", "--workers", "0"]
    def call(*arguments):
        done = subprocess.run(
            [program, *map(str, arguments)], stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False)
        if done.returncode != 0:
            raise AssertionError(f"{arguments} ended with {done.returncode}:\n"
                                 + done.stdout)
        return done.stdout
    text = call("--check", "--out", folder.parent / "check", *common)
    counts = [line.split() for line in text.splitlines()[1:5]]
    expect(counts, [["train", "Real", "2", "2", "0"],
                    ["train", "Synthetic", "2", "2", "0"],
                    ["val", "Real", "2", "2", "0"],
                    ["val", "Synthetic", "1", "0", "1"]],
           "the pictures and maps that train --check counts")
    # The map of a turned picture has its tag, so both can be turned.
    text = call("--check", "--exif-orientation", "both", "--out",
                folder.parent / "both", *common)
    if "orientation" in text or "proportions" in text:
        raise AssertionError("the turned picture and its map differ:\n" + text)
    call("--network", "demo", "--loss", "cyborg-kl", "--mean", "0.5", "--std", "0.25",
         "--epochs", "1", "--batch", "2", "--out", out, *common)
    log = (out / "log.jsonl").read_text().splitlines()
    expect(len(log), 1, "the epochs of the training")
    # Without the table: the maps are found by the names of the pictures, but for
    # the two that differ in the extension alone.
    (folder / "train/Real/broken.png").unlink()
    common[1:2] = [folder, "--saliency", table.parent / "maps"]
    text = call("--check", "--out", folder.parent / "names", *common)
    counts = [line.split() for line in text.splitlines()
              if line[:5] in ("train", "val  ")]
    expect([row[2:] for row in counts if len(row) == 5],
           [["2", "2", "0"], ["2", "2", "0"], ["2", "0", "2"], ["1", "0", "1"]],
           "the maps that are found by name")


def main():
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place:
        place = Path(place)
        folder = place / "faces"
        downloads = place / "downloads"
        downloads.mkdir()
        write_pictures(folder)
        browser = Browser(place)
        try:
            browser.call("Browser.setDownloadBehavior", behavior="allow",
                         downloadPath=str(downloads))
            person = Person(browser)
            url = PAGE.as_uri()
            person.open_page(url)
            draw(person, folder)
            comes_back(person, folder, url, "kept in this browser")
            archive, message = save(person, downloads)
            check_saved(archive, message, folder)
            (place / "good.json").write_bytes(
                archive.read("annotations-Ann-A/annotations.json"))
            comes_back(person, folder, url, "annotations-Ann-A/annotations.json")
            check_functions(browser)
            check_wrong_files(person, folder)
            again, _ = save(person, downloads)
            for name in archive.namelist():
                if name.endswith(".png"):
                    expect(again.read(name), archive.read(name), f"{name} again")
            closes_at_once(person, place / "one", url)
            pictures_change(person, place / "one", url, downloads)
            check_folder_access(person)
            expect(browser.errors, [], "the errors of the page")
        finally:
            browser.close()
        if len(sys.argv) > 1:
            train(sys.argv[1], folder)
    print("The page annotates, saves and resumes"
          + (", and train trains on its files." if len(sys.argv) > 1 else "."))


if __name__ == "__main__":
    try:
        main()
    except Skip as reason:
        print(f"Skipped: {reason}")
        sys.exit(SKIPPED)
