"""A page in a real browser: its form is sent under its own policy, and the server takes it for one of its own pages."""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading

import pytest
import uvicorn
from starlette.responses import HTMLResponse

from aet.serving.app import create_app, protected
from tests.serving.conftest import rows_of

CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium on the path"),
]
# Becomes the page it is given, policies and all, and then presses its button as a person would.
PRESSED = """<!doctype html><script>
fetch("/page/streams/local/site-7").then((got) => got.text()).then((page) => {
  document.open(); document.write(page); document.close();
  setTimeout(() => document.querySelector('form[action$="/ask"]').requestSubmit(), 200);
});
</script>"""


@pytest.fixture
def address(service):
    """A server on a free port of this machine."""
    app = create_app(service)
    app.add_api_route("/pressed", lambda: HTMLResponse(PRESSED, headers={"content-security-policy": ""}))
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(protected(app, None), log_level="error"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    while not server.started and thread.is_alive():
        thread.join(0.05)
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    server.should_exit = True
    thread.join(30)
    listening.close()


def test_a_form_is_sent_and_taken(address, service, tmp_path):
    service.predict("local", "site-7", rows_of(40)[0])
    quiet = ["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
    command = [str(CHROMIUM), *quiet, f"--user-data-dir={tmp_path}", "--virtual-time-budget=8000", "--dump-dom"]
    seen = subprocess.run(
        [*command, f"{address}/pressed"], capture_output=True, text=True, timeout=60, check=True
    ).stdout
    assert "8 rows wait for a true answer" in seen.replace("&nbsp;", " ").replace("\u00a0", " ")
    assert service.describe("local", "site-7")["asked"] == 8
