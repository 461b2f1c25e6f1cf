"""glTF files read back: their joints and surfaces, by an evaluation of the standard of our own."""

import numpy as np
import pytest
import torch
from moving import TIMES, joints, record
from scipy.spatial.transform import Rotation

from auxhand.hand.fitting import fit_hand
from auxhand.inference.gltf import write_glb
from auxhand.inference.motion import read_hands

pygltflib = pytest.importorskip("pygltflib")

TYPES = {5126: np.float32, 5123: np.uint16, 5125: np.uint32}
WIDTHS = {"SCALAR": 1, "VEC3": 3, "VEC4": 4, "MAT4": 16}


class Read:
    """A .glb file as its reader sees it."""

    def __init__(self, path):
        self.gltf = pygltflib.GLTF2().load(str(path))
        self.blob = self.gltf.binary_blob()

    def values(self, accessor):
        accessor = self.gltf.accessors[accessor]
        view = self.gltf.bufferViews[accessor.bufferView]
        width = WIDTHS[accessor.type]
        flat = np.frombuffer(
            self.blob, TYPES[accessor.componentType], accessor.count * width, view.byteOffset
        )
        return flat.reshape(accessor.count, width)

    def channels(self, time):
        """Values of (node, path) at a time that is a key of theirs."""
        (animation,) = self.gltf.animations
        said = {}
        for channel in animation.channels:
            sampler = animation.samplers[channel.sampler]
            keys, values = self.values(sampler.input)[:, 0], self.values(sampler.output)
            at = np.abs(keys - time).argmin()
            if sampler.interpolation == "STEP":
                at = max(np.searchsorted(keys, time + 1e-6) - 1, 0)
            said[channel.target.node, channel.target.path] = values[at]
        return said

    def transforms(self, time):
        """(4, 4) of each node to the world."""
        said, world = self.channels(time), {}

        def visit(index, above):
            node = self.gltf.nodes[index]
            local = np.eye(4)
            turn = said.get((index, "rotation"), node.rotation)
            scale = said.get((index, "scale"), [1, 1, 1])
            local[:3, :3] = np.eye(3) if turn is None else Rotation.from_quat(turn).as_matrix()
            local[:3, :3] = local[:3, :3] * np.asarray(scale)
            place = said.get((index, "translation"), node.translation)
            local[:3, 3] = 0 if place is None else place
            world[index] = above @ local
            for child in node.children or []:
                visit(child, world[index])

        for root in self.gltf.scenes[0].nodes:
            visit(root, np.eye(4))
        return world

    def hand(self, number, time):
        """Joints (21, 3) and vertices (V, 3) in the camera's axes."""
        world, skin = self.transforms(time), self.gltf.skins[number]
        moved = np.stack([world[node] for node in skin.joints])
        from_rest = self.values(skin.inverseBindMatrices).reshape(-1, 4, 4).transpose(0, 2, 1)
        (part,) = self.gltf.meshes[number].primitives
        rest = np.pad(self.values(part.attributes.POSITION), ((0, 0), (0, 1)), constant_values=1)
        chosen, weights = (
            self.values(part.attributes.JOINTS_0),
            self.values(part.attributes.WEIGHTS_0),
        )
        blend = np.einsum("vk,vkij->vij", weights, (moved @ from_rest)[chosen])
        vertices = np.einsum("vij,vj->vi", blend, rest)[:, :3]
        return moved[:, :3, 3] * [1, -1, -1], vertices * [1, -1, -1]


@pytest.fixture(scope="module")
def read(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gltf")
    hands = read_hands(record(folder / "clip.parquet"))
    assert write_glb(folder / "hands.glb", hands) == 2
    assert sorted(path.name for path in folder.iterdir()) == ["clip.parquet", "hands.glb"]
    return Read(folder / "hands.glb")


@pytest.mark.parametrize("step", range(4))
def test_joints_and_surface_are_those_of_the_frames(read, step):
    found, vertices = read.hand(0, TIMES[step])
    np.testing.assert_allclose(found, joints(step), atol=1e-3)
    mesh, _ = fit_hand(torch.from_numpy(joints(step)), "right").mesh()
    # Four joints move a vertex here, up to eight in the model.
    away = np.linalg.norm(vertices - mesh.numpy(), axis=1)
    assert away.max() < 4e-3
    assert away.mean() < 5e-4


@pytest.mark.parametrize(("step", "size"), [(0, 0.0), (1, 1.0), (2, 1.0), (3, 0.0)])
def test_a_hand_is_there_in_its_frames_alone(read, step, size):
    found, _ = read.hand(1, TIMES[step])
    reach = np.linalg.norm(found[12] - found[0])
    if size == 0:
        assert reach == 0
    else:
        np.testing.assert_allclose(found, joints(step, "left"), atol=1e-3)


def test_the_world_is_that_of_gltf(read):
    """y up, the camera looking along -z: a hand below and before it."""
    world = read.transforms(0.0)
    wrist = world[read.gltf.skins[0].joints[0]][:3, 3]
    x, y, z = joints(0)[0]
    np.testing.assert_allclose(wrist, [x, -y, -z], atol=1e-3)


def test_another_reader_takes_it(read, tmp_path):
    trimesh = pytest.importorskip("trimesh")
    read.gltf.save_binary(str(tmp_path / "a.glb"))
    scene = trimesh.load(tmp_path / "a.glb")
    assert len(scene.geometry) == 2
    assert all(len(mesh.faces) == 6388 for mesh in scene.geometry.values())


def test_quaternions_go_the_short_way(read):
    (animation,) = read.gltf.animations
    for channel in animation.channels:
        if channel.target.path == "rotation":
            turns = read.values(animation.samplers[channel.sampler].output)
            np.testing.assert_allclose(np.linalg.norm(turns, axis=1), 1, atol=1e-6)
            assert (np.sum(turns[1:] * turns[:-1], axis=1) > 0).all()


def test_without_3d_there_is_no_file(tmp_path):
    flat = [
        h._replace(xyz=np.full((21, 3), np.nan)) for h in read_hands(record(tmp_path / "a.parquet"))
    ]
    with pytest.raises(ValueError, match="no hand with 3D joints"):
        write_glb(tmp_path / "a.glb", flat)
    assert not (tmp_path / "a.glb").exists()
