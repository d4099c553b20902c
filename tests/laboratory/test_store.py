"""The store: records come back as they were, whoever dies while writing and however many write at once."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import subprocess
import tarfile
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st
from store_process import PICTURES, arrays_of, entry_of, fill_slowly, hold, make_all

from gan3d_core.errors import DatasetError
from training.data import shards, store
from training.data.locks import Locks
from training.data.writer import Writer


@pytest.fixture
def folder(tmp_path) -> Path:
    store.create(tmp_path / "dataset", {"size": 1})
    return tmp_path / "dataset"


def fill(folder: Path, numbers: range, shard_bytes: int = 1 << 30) -> None:
    writer = Writer(folder, PICTURES, shard_bytes)
    for number in numbers:
        writer.append(entry_of(number), arrays_of(number))
    writer.close()


def assert_holds(folder: Path, numbers: range) -> None:
    data = store.Dataset(folder)
    assert sorted(entry.labels["number"] for entry in data.entries) == list(numbers)
    assert data.damaged() == []
    for index, entry in enumerate(data.entries):
        for name, expected in arrays_of(entry.labels["number"]).items():
            found = data.array(index, name)
            assert found.dtype == expected.dtype
            assert np.array_equal(found, expected)


def test_records_come_back_bit_for_bit(folder):
    fill(folder, range(4))
    assert_holds(folder, range(4))  # without a manifest yet: the shards know it all
    assert store.write_manifest(folder) == store.Dataset(folder).entries
    assert_holds(folder, range(4))
    data = store.Dataset(folder)
    assert data.names()["rgba"] == ((3, 16, 16, 4), np.dtype("uint8"))
    assert np.array_equal(data.stack("grid"), np.stack([arrays_of(n)["grid"] for n in range(4)]))
    assert np.array_equal(data.views(2, "rgba", [2, 0]), arrays_of(2)["rgba"][[2, 0]])
    assert np.array_equal(data.views(2, "grid", [5, 1, 1]), arrays_of(2)["grid"][[5, 1, 1]])
    with pytest.raises(DatasetError, match="no 'sdf512'"):
        data.array(0, "sdf512")


@settings(max_examples=25)
@given(
    st.lists(st.integers(0, 5), min_size=0, max_size=4),
    st.sampled_from(["<f2", "<f4", "<f8", "|u1", "<u2", "<i4", "|b1"]),
    st.integers(0, 2**32 - 1),
)
def test_any_array_comes_back(tmp_path_factory, shape, dtype, seed):
    array = np.random.default_rng(seed).integers(0, 2, shape).astype(dtype)
    path = tmp_path_factory.mktemp("any") / "0.tar"
    path.write_bytes(shards.encode("a", {"x": [1, "ü"]}, {"empty": np.zeros((0, 3), "<f4"), "it": array}, frozenset()))
    (head,) = shards.scan(path)
    buffer = memoryview(path.read_bytes())
    found = shards.decode(buffer, head, "it")
    assert found.dtype == array.dtype
    assert found.shape == array.shape
    assert np.array_equal(found, array)
    assert shards.decode(buffer, head, "empty").shape == (0, 3)
    assert head.entry == {"x": [1, "ü"]}


def test_views_are_mapped_and_not_read(folder):
    """A view of a large array costs no memory until it is touched; nobody can write through it."""
    writer = Writer(folder)
    large = np.zeros((64, 1 << 20), np.uint8)
    large[40, 7] = 9
    writer.append(entry_of(0), {"large": large})
    writer.close()
    data = store.Dataset(folder)
    tracemalloc.start()
    view = data.view(0, "large")
    assert view[40, 7] == 9
    assert tracemalloc.get_traced_memory()[1] < large.nbytes / 100
    tracemalloc.stop()
    assert np.shares_memory(view, data.view(0, "large"))
    assert view.ctypes.data % 64 == 0
    assert not view.flags.writeable
    copy = data.array(0, "large")
    copy[40, 7] = 1
    assert data.view(0, "large")[40, 7] == 9


def test_a_dataset_can_go_to_another_process(folder):
    fill(folder, range(2))
    data = store.Dataset(folder)
    data.view(0, "grid")
    there = pickle.loads(pickle.dumps(data))
    assert np.array_equal(there.array(0, "grid"), data.array(0, "grid"))
    assert there.entries == data.entries


def test_shards_are_tar_files_of_numpy_arrays_and_pictures(folder, tmp_path):
    """Another program needs tar, NumPy and an image reader, and finds a shape's members under its id."""
    fill(folder, range(2))
    (shard,) = store.shard_paths(folder)
    subprocess.run(["tar", "-xf", str(shard), "-C", str(tmp_path)], check=True)
    from PIL import Image

    for number in range(2):
        expected = arrays_of(number)
        assert np.array_equal(np.load(tmp_path / f"{entry_of(number).id}.grid.npy"), expected["grid"])
        for view in range(3):
            picture = Image.open(tmp_path / f"{entry_of(number).id}.rgba.{view:03}.png")
            assert np.array_equal(np.asarray(picture), expected["rgba"][view])
    with tarfile.open(shard) as archive:  # WebDataset: the members of a sample are neighbours
        owners = [member.name.split(".")[0] for member in archive]
    assert owners == sorted(owners)


def test_shards_end_when_they_are_full(folder):
    fill(folder, range(7), shard_bytes=40_000)
    sizes = [path.stat().st_size for path in store.shard_paths(folder)]
    assert len(sizes) > 2
    assert all(size >= 40_000 for size in sizes[:-1])
    assert_holds(folder, range(7))


@pytest.mark.parametrize("kept", [1, 300, 512, 5_000, -1])
def test_a_torn_tail_is_ignored_and_written_over(folder, kept):
    """A writer was killed after so many bytes of a record: all others are read, and the next run makes that one."""
    fill(folder, range(3))
    store.write_manifest(folder)
    (shard,) = store.shard_paths(folder)
    whole = shard.read_bytes()
    torn = shards.encode("x" * 20, {"number": 3}, arrays_of(3), PICTURES)
    shard.write_bytes(whole + torn[:kept])
    assert_holds(folder, range(3))
    writer = Writer(folder, PICTURES)
    assert writer.find("x" * 20) is None
    writer.append(entry_of(3), arrays_of(3))
    writer.close()
    assert_holds(folder, range(4))
    assert len(store.write_manifest(folder)) == 4
    assert shard.read_bytes()[: len(whole)] == whole, "what was there has not moved"


def test_a_tail_of_zeros_is_ignored(folder):
    """After a power failure a file may have its full length and hold nothing."""
    fill(folder, range(2))
    (shard,) = store.shard_paths(folder)
    content = bytearray(shard.read_bytes())
    content[-6000:] = bytes(6000)
    shard.write_bytes(content)
    assert_holds(folder, range(1))


def test_a_truncated_shard_is_named_and_mended(folder):
    fill(folder, range(3))
    store.write_manifest(folder)
    (shard,) = store.shard_paths(folder)
    os.truncate(shard, shard.stat().st_size - 3000)
    with pytest.raises(DatasetError, match=r"00000.tar has .* bytes where .* are expected") as caught:
        store.Dataset(folder)
    assert "run prepare again" in caught.value.hint
    fill(folder, range(2, 3))
    store.write_manifest(folder)
    assert_holds(folder, range(3))
    shard.unlink()
    with pytest.raises(DatasetError, match="is missing"):
        store.Dataset(folder)


def test_damage_inside_costs_one_record(folder):
    fill(folder, range(3))
    rows = store.read_rows(folder)
    (shard,) = store.shard_paths(folder)
    content = bytearray(shard.read_bytes())
    content[rows[1].start + 600] ^= 0xFF  # in the head
    shard.write_bytes(content)
    assert [entry.labels["number"] for entry in store.read_manifest(folder)] == [0, 2]
    content[rows[1].start + 600] ^= 0xFF
    content[rows[1].end - 1000] ^= 0x01  # in an array
    shard.write_bytes(content)
    assert [entry.labels["number"] for entry in store.Dataset(folder).damaged()] == [1]


def test_a_broken_manifest_costs_nothing(folder):
    fill(folder, range(3))
    store.write_manifest(folder)
    (folder / "manifest.jsonl").write_text('{"id": "half a li')
    assert_holds(folder, range(3))


def test_a_changed_file_replaces_what_it_was(folder):
    import dataclasses

    fill(folder, range(2))
    writer = Writer(folder, PICTURES)
    new = dataclasses.replace(entry_of(0), id="f" * 20, written=99.0, labels={"number": 5})
    writer.append(new, arrays_of(5))
    writer.close()
    assert [entry.labels["number"] for entry in store.write_manifest(folder)] == [5, 1]
    assert np.array_equal(store.Dataset(folder).array(0, "grid"), arrays_of(5)["grid"])


def test_processes_share_a_dataset_without_making_anything_twice(folder):
    """Four processes, one list of shapes: each is made once, by whoever comes first."""
    context = multiprocessing.get_context("spawn")
    made = context.Queue()
    crew = [context.Process(target=make_all, args=(folder, 24, made)) for _ in range(4)]
    for process in crew:
        process.start()
    counts = [made.get(timeout=60) for _ in crew]
    for process in crew:
        process.join()
    assert [process.exitcode for process in crew] == [0] * 4
    assert sum(counts) == 24
    assert_holds(folder, range(24))
    assert len(store.read_manifest(folder)) == 24


def test_a_killed_writer_loses_only_what_it_was_writing(folder):
    """Killed without warning at any moment: what it reported done is there, and its claims and shard are free."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=fill_slowly, args=(folder, theirs))
    process.start()
    theirs.close()
    for _ in range(5):
        done = ours.recv()
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    while ours.poll():  # what it could still report
        try:
            done = ours.recv()
        except EOFError:
            break
    found = [entry.labels["number"] for entry in store.read_manifest(folder)]
    assert sorted(found)[: done + 1] == list(range(done + 1))
    writer = Writer(folder, PICTURES)
    for number in range(done + 4):
        with writer.claim(entry_of(number).id) as free:
            assert free
            if writer.find(entry_of(number).id) is None:
                writer.append(entry_of(number), arrays_of(number))
    writer.close()
    assert_holds(folder, range(done + 4))
    assert len(store.shard_paths(folder)) == 1, "the dead process's shard goes on"


def test_locks_die_with_their_process(tmp_path):
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=hold, args=(tmp_path / ".locks", theirs))
    process.start()
    assert ours.recv() == "held"
    locks = Locks(tmp_path / ".locks")
    other = Locks(tmp_path / ".locks")
    assert not locks.take("chair")
    assert locks.take("table")
    other.close()  # closing one user's handle of the file must not give up another's locks
    ours.send("look")
    assert ours.recv() == {"table": False, "lamp": True}
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    deadline = time.monotonic() + 5
    while not locks.take("chair"):
        assert time.monotonic() < deadline
    locks.close()


def test_settings_and_foreign_folders(folder, tmp_path):
    store.create(folder, {"size": 1})
    with pytest.raises(DatasetError, match="other settings") as caught:
        store.create(folder, {"size": 2})
    assert "size" in caught.value.message
    (folder / "dataset.json").write_text('{"format": "gan3d-dataset", "version": 7, "settings": {}}')
    with pytest.raises(DatasetError, match="version 7"):
        store.Dataset(folder)
    (tmp_path / "file").write_text("precious")
    with pytest.raises(DatasetError, match="is a file"):
        store.create(tmp_path / "file", {})
    assert (tmp_path / "file").read_text() == "precious"


def test_version_1_is_read_and_not_added_to(tmp_path):
    """The layout of version 1, written by hand: one safetensors file for each shape."""
    import dataclasses
    import json

    old = {"id", "name", "category", "split", "licence", "author", "size_m", "faces", "watertight", "thin_share",
           "colored", "labels"}  # fmt: skip
    (tmp_path / "records").mkdir()
    (tmp_path / "dataset.json").write_text('{"format": "gan3d-dataset", "version": 1, "settings": {"grids": [16]}}')
    lines = []
    for number in range(3):
        entry = entry_of(number)
        arrays = {"grid": arrays_of(number)["grid"], "material": arrays_of(number)["rgba"][0]}
        safetensors.numpy.save_file(arrays, tmp_path / "records" / f"{entry.id}.safetensors", {"entry": "{}"})
        lines.append(json.dumps({k: v for k, v in dataclasses.asdict(entry).items() if k in old}))
    (tmp_path / "manifest.jsonl").write_text("\n".join(lines) + "\n")
    data = store.Dataset(tmp_path, split=None, category="chair")
    assert len(data) == 3
    for index, entry in enumerate(data.entries):
        assert np.array_equal(data.view(index, "grid"), arrays_of(entry.labels["number"])["grid"])
        assert np.array_equal(data.array(index, "material"), arrays_of(entry.labels["number"])["rgba"][0])
    with pytest.raises(DatasetError, match="version 1"):
        store.create(tmp_path, {"grids": [16]})
    broken = tmp_path / "records" / f"{data.entries[1].id}.safetensors"
    broken.write_bytes(broken.read_bytes()[:40])
    with pytest.raises(DatasetError, match="cannot be read"):
        store.Dataset(tmp_path).array(1, "grid")
