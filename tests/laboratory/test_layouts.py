"""Folders as people have them: known datasets, loose files, wrong ones."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import scipy.io

from gan3d_core.errors import DatasetError
from training.data.layouts import discover
from training.data.readers import read

FILES = Path(__file__).parent.parent / "shapes" / "files"
DECK = FILES / "chair" / "deckChair"


@pytest.fixture
def shapenet(tmp_path) -> Path:
    """ShapeNetCore version 2 as it is unpacked: images beside `models`, voxels and pictures among them."""
    root = tmp_path / "ShapeNetCore.v2"
    for synset, model in (("03001627", "a1"), ("03001627", "b2"), ("04379243", "c3")):
        home = root / synset / model
        (home / "models").mkdir(parents=True)
        (home / "images").mkdir()
        text = (DECK / "deckChair.obj").read_text().replace("deckChair.mtl", "model_normalized.mtl")
        (home / "models" / "model_normalized.obj").write_text(text)
        library = (DECK / "deckChair.mtl").read_text()
        for number, image in enumerate(("BEuropean_Beech.jpg", "BlueWhite_Stripes.jpg")):
            shutil.copy(DECK / image, home / "images" / f"texture{number}.jpg")
            library = library.replace(image, f"../images/texture{number}.jpg")
        (home / "models" / "model_normalized.mtl").write_text(library)
        (home / "models" / "model_normalized.solid.binvox").write_bytes(b"#binvox 1\n")
        (home / "models" / "model_normalized.json").write_text("{}")
    return root


@pytest.mark.parametrize("above", [0, 1])
def test_shapenet(shapenet, above):
    """Found from its own folder and from the one above; one shape for each model, with what is known of the dataset."""
    (shapenet / "all.csv").write_text("id,synsetId,subSynsetId,modelId,split\n1,03001627,x,a1,test\n")
    found = discover(shapenet.parent if above else shapenet)
    assert found.layout == "ShapeNetCore version 2"
    assert [file.category for file in found.files] == ["chair", "chair", "table"]
    assert {(file.up, file.front) for file in found.files} == {("+Y", "-Z")}
    assert all("non-commercial" in file.licence for file in found.files)
    assert found.files[0].labels == {"synset": "03001627", "model": "a1", "official_split": "test"}
    mesh = read(found.files[0])
    assert mesh.missing_textures == []
    assert mesh.colored
    # One category, from the folder of its synset or by its name.
    assert len(discover(shapenet / "03001627").files) == 2
    assert len(discover(shapenet, "table").files) == 1


def test_shapenets_own_names_and_models_without_a_mesh(shapenet):
    (shapenet / "taxonomy.json").write_text(json.dumps([{"synsetId": "03001627", "name": "side chair,seat"}]))
    (shapenet / "03001627" / "a1" / "models" / "model_normalized.obj").unlink()
    found = discover(shapenet)
    assert {file.category for file in found.files} == {"side_chair", "table"}
    assert found.notes == ["1 models have no model_normalized.obj; they will be skipped."]


def test_modelnet(tmp_path):
    for category, split, name in (
        ("chair", "train", "chair_0001"),
        ("chair", "test", "chair_0890"),
        ("desk", "train", "d"),
    ):
        folder = tmp_path / "ModelNet10" / category / split
        folder.mkdir(parents=True, exist_ok=True)
        # Their broken header: the counts on the keyword's line.
        (folder / f"{name}.off").write_text(
            "OFF4 4 0\n0 0 0\n1 0 0\n0 1 0\n0 0 1\n3 0 2 1\n3 0 1 3\n3 0 3 2\n3 1 2 3\n"
        )
    for folder in (tmp_path, tmp_path / "ModelNet10"):
        found = discover(folder)
        assert found.layout == "ModelNet"
        assert [file.category for file in found.files] == ["chair", "chair", "desk"]
        assert [file.labels["official_split"] for file in found.files] == ["test", "train", "train"]
        assert {file.up for file in found.files} == {"+Z"}
        assert len(read(found.files[0]).faces) == 4


def test_the_volumes_of_3d_shapenets_leave_out_turned_copies(tmp_path):
    folder = tmp_path / "volumetric_data" / "chair" / "30" / "train"
    folder.mkdir(parents=True)
    volume = np.zeros((30, 30, 30), np.uint8)
    volume[10:20, 5:25, 8:12] = 1
    for turn in range(1, 13):
        scipy.io.savemat(folder / f"chair_000000007_{turn}.mat", {"instance": volume})
    found = discover(tmp_path)
    assert found.layout == "3D ShapeNets volumes"
    (file,) = found.files
    assert (file.category, file.up) == ("chair", "+Z")
    assert file.name.endswith("_1.mat")
    assert found.notes == ["11 files are turned copies (_2 to _12) and are left out."]
    assert np.ptp(read(file).vertices, axis=0) * 30 == pytest.approx([10, 20, 4], abs=0.5)


def test_the_same_shape_in_several_formats_counts_once(tmp_path):
    for suffix in (".stl", ".obj", ".ply", ".txt"):
        (tmp_path / f"a{suffix}").write_text("x")
    (tmp_path / ".hidden.obj").write_text("x")
    (tmp_path / "__MACOSX").mkdir()
    (tmp_path / "__MACOSX" / "b.obj").write_text("x")
    found = discover(tmp_path)
    assert [file.name for file in found.files] == ["a.obj"]
    assert found.notes == ["2 files are the same shapes in other formats and are left out."]


def test_the_filter_takes_several_categories_and_says_which_are_not_there():
    found = discover(FILES, "Chair, table_desk,lamp")
    assert {file.category for file in found.files} == {"chair", "table_desk"}
    assert found.notes == ["There are no shapes of category lamp."]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "is empty"),
        ({"a.jpg": b"x", "b.jpg": b"x", "notes.txt": b"x"}, "2 .jpg, 1 .txt"),
        ({"shapes.zip": b"PK"}, "Unpack the archives"),
        ({"dataset.json": b"{}"}, "prepared dataset"),
    ],
)
def test_wrong_folders_are_told_what_they_hold(tmp_path, content, message):
    for name, data in content.items():
        (tmp_path / name).write_bytes(data)
    with pytest.raises(DatasetError) as caught:
        discover(tmp_path)
    assert message in str(caught.value)


def test_an_absent_category_is_told_which_there_are():
    with pytest.raises(DatasetError, match=r"chair \(2\), table_desk \(1\)"):
        discover(FILES, "sofa")
