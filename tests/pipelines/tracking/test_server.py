"""Records go to a tracking server, and wait for it where it is away; a real one, on loopback."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from threading import Thread
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from insituml_pipelines.tracking import mlflow as tracking
from insituml_pipelines.tracking.address import address_of
from insituml_pipelines.tracking.mlflow import MlflowTracker
from insituml_pipelines.train import train_method

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")


class Server:
    """An MLflow server with its store below a folder."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.folder = folder
        self.uri = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen | None = None

    def start(self) -> None:
        options = [
            *("--backend-store-uri", f"sqlite:///{self.folder}/server.db", "--workers", "1"),
            *("--artifacts-destination", str(self.folder / "artifacts")),
            *("--host", "127.0.0.1", "--port", str(self.port)),
        ]
        quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", *options],
            cwd=self.folder,
            env={**os.environ, **quiet},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        for _ in range(1200):
            try:
                urlopen(f"{self.uri}/health", timeout=5).close()
                return
            except (URLError, OSError):
                assert self.process.poll() is None
                time.sleep(0.1)
        raise AssertionError("the server does not answer")

    def kill(self) -> None:
        if self.process is not None:
            os.killpg(self.process.pid, 9)
            self.process.wait()
            self.process = None


class Door:
    """A port that leads to a server while it is open; closed, it is as if the server were killed.

    To come back takes a server many seconds.
    """

    def __init__(self, server: Server) -> None:
        self.server = server
        self.port = free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self.ends: list[socket.socket] = []
        self.threads: list[Thread] = []

    def open(self) -> None:
        self.ends = [listener := socket.create_server(("127.0.0.1", self.port))]
        self._in_a_thread(self._let_in, listener)

    def close(self) -> None:
        for end in self.ends:
            with suppress(OSError):  # the other side has gone
                end.shutdown(socket.SHUT_RDWR)
        for thread in self.threads:
            thread.join()
        for end in self.ends:
            end.close()
        self.ends, self.threads = [], []

    def _in_a_thread(self, act: Callable[..., None], *arguments: socket.socket) -> None:
        self.threads.append(Thread(target=act, args=arguments, daemon=True))
        self.threads[-1].start()

    def _let_in(self, listener: socket.socket) -> None:
        with suppress(OSError):  # it is closed
            while True:
                come, _ = listener.accept()
                leads_to = socket.create_connection(("127.0.0.1", self.server.port))
                self.ends += [come, leads_to]
                self._in_a_thread(_pass_on, come, leads_to)
                self._in_a_thread(_pass_on, leads_to, come)


def _pass_on(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while part := source.recv(65536):
            sink.sendall(part)
        sink.shutdown(socket.SHUT_WR)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.fixture
def door(tmp_path) -> Iterator[Door]:
    """A closed door to a server that has not started."""
    (tmp_path / "server").mkdir()
    made = Door(Server(tmp_path / "server"))
    yield made
    made.close()
    made.server.kill()


def test_a_server_that_comes_and_goes_gets_all_of_it_once(
    door, make_run, tools, tmp_path, monkeypatch, capsys
) -> None:
    from mlflow import MlflowClient

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tracking, "RETRY", 0.0)
    stream = tools.make_stream(tools.points_data(), tmp_path)

    def run_of(method):
        return make_run(method, 0, stream, folder=tmp_path / f".partial/{method}/seed_0")

    # Nobody answers: it is said once, and kept.
    started = time.monotonic()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", door.uri)
    train_method([run_of("naive")], 0, 1, tmp_path, MlflowTracker("mlflow.db", "tests"))
    assert time.monotonic() - started < 20
    kept = tmp_path / f"mlflow_127_0_0_1_{door.port}.pending"
    assert len(list(kept.iterdir())) == 2  # the run, and how fast it was
    said = capsys.readouterr().err
    assert f"tracking: {door.uri} cannot be written (no server answers at" in said
    assert "kept in mlflow_127_0_0_1_" in said
    assert not (tmp_path / "mlflow.db").exists()
    monkeypatch.delenv("MLFLOW_TRACKING_URI")

    # It comes, and is gone while another run trains.
    door.server.start()
    door.open()
    tracker = MlflowTracker("mlflow.db", "tests", uri=door.uri)
    forward = tracker.losses

    def losses(run, first_step, values) -> None:
        forward(run, first_step, values)
        if first_step == 18:
            tracker.close()
            door.close()

    monkeypatch.setattr(tracker, "losses", losses)
    train_method([run_of("ewc")], 0, 1, tmp_path, tracker)
    assert len(list(kept.iterdir())) == 2

    # The same command goes on recording when it is back.
    door.open()
    tracker.evaluated(run_of("ewc").recipe.identity(), {"forgetting": [0.5]})
    tracker.close()
    assert not kept.exists()
    client = MlflowClient(door.uri)
    experiment = client.get_experiment_by_name("tests")
    runs = client.search_runs([experiment.experiment_id])
    assert {run.info.run_name for run in runs} > {"naive seed 0", "ewc seed 0"}
    assert len(runs) == 3
    assert {run.info.status for run in runs} == {"FINISHED"}
    for run in runs:
        if "method" in run.data.tags:
            history = client.get_metric_history(run.info.run_id, "train_loss")
            assert sorted(point.step for point in history) == list(range(42))
            files = {file.path for file in client.list_artifacts(run.info.run_id, "model")}
            assert "model/task_2.pt" in files
    (ewc,) = [run for run in runs if run.data.tags.get("method") == "ewc"]
    assert ewc.data.metrics["forgetting"] == 0.5


@pytest.mark.parametrize(
    "uri, label, beside",
    [
        ("http://me:secret@host:5000/x", "http://host:5000/x", "mlflow_host_5000_x"),
        ("postgresql+psycopg2://me:p@db/runs", "postgresql+psycopg2://db/runs", "mlflow_db_runs"),
        (
            "postgresql://me:secret@/runs?host=/var/run/postgresql",
            "postgresql:///runs",
            "mlflow_runs",
        ),
        ("sqlite:////tmp/a.db", "a.db", "a.db"),
    ],
)
def test_addresses_are_named_without_passwords(uri, label, beside) -> None:
    found = address_of("mlflow.db", uri)
    assert (found.label, found.beside.name) == (label, beside)
    assert found.is_file == uri.startswith("sqlite")


@pytest.mark.parametrize(
    "uri",
    ["me:secret@host", "http://me:sec/ret@host", "http://me:sec?ret@host", "ftp://me:secret@"],
)
def test_what_is_refused_shows_no_password(uri) -> None:
    with pytest.raises(ValueError, match=r"tracking\.uri is ") as caught:
        address_of("mlflow.db", uri)
    assert "sec" not in str(caught.value).partition("; expected")[0]


def test_what_others_say_of_an_address_shows_no_password() -> None:
    said = address_of("mlflow.db", "http://me:secret@host:1/x").without_password(
        "API request to http://me:secret@host:1/x/api failed"
    )
    assert said == "API request to http://host:1/x/api failed"


@pytest.mark.parametrize(
    "uri", ["", "mlruns", "file:///tmp/x", "http://", "http://a:port", "ftp://a/b"]
)
def test_what_is_no_address_is_refused_in_one_line(uri) -> None:
    with pytest.raises(ValueError, match=r"tracking.uri is .*; expected the address") as caught:
        address_of("mlflow.db", uri)
    assert "\n" not in str(caught.value)
