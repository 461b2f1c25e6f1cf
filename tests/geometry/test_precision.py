import pytest
import torch

from auxhand.geometry import canonical, crop, heatmap, pose25d, warp
from auxhand.geometry.camera import project, rays, rotation_to_axis, unproject
from auxhand.geometry.precision import full_precision

K = torch.tensor([[520.0, 2.0, 310.0], [0.0, 480.0, 255.0], [0.0, 0.0, 1.0]])
XYZ = 0.1 * torch.rand(2, 21, 3, generator=torch.Generator().manual_seed(0)) + K.new_tensor(
    [0.0, 0.0, 0.5]
)
OTHER = 0.1 * torch.rand(2, 21, 3, generator=torch.Generator().manual_seed(1))
UV = project(K, XYZ)
LOGITS = 9 * torch.rand(2, 21, 32, 32, generator=torch.Generator().manual_seed(2))
POSE = pose25d.to_25d(UV, XYZ)
VIEW = crop.view_crop(K, (300.0, 200.0), 90.0, 64, 0.3, mirror=True)
OTHER_VIEW = crop.view_crop(K, (310.0, 220.0), 70.0, 64)

CALLS = {
    "project": lambda: project(K, XYZ),
    "rays": lambda: rays(K, UV),
    "unproject": lambda: unproject(K, UV, XYZ[..., 2]),
    "rotation_to_axis": lambda: rotation_to_axis(XYZ),
    "view_crop": lambda: crop.view_crop(K, (300.0, 200.0), 90.0, 64, 0.3).A,
    "plain_crop": lambda: crop.plain_crop((300.0, 200.0), 90.0, 64, 0.3, K).K,
    "onto": lambda: VIEW.onto(OTHER_VIEW).A,
    "uv_to_crop": lambda: VIEW.uv_to_crop(UV),
    "uv_to_original": lambda: VIEW.uv_to_original(UV),
    "xyz_to_crop": lambda: VIEW.xyz_to_crop(XYZ),
    "xyz_to_original": lambda: VIEW.xyz_to_original(XYZ),
    "depth_scale": lambda: VIEW.depth_scale(),
    "mirror_xyz": lambda: crop.mirror_xyz(XYZ),
    "warp_image": lambda: warp.warp_image(LOGITS, torch.eye(3) * 1.0, (32, 32)),
    "soft_argmax": lambda: heatmap.soft_argmax(LOGITS)[0],
    "lift": lambda: pose25d.lift(UV, POSE.d, K, POSE.root_z, POSE.scale),
    "lift_closed_form": lambda: pose25d.lift_closed_form(UV, POSE.d, K).xyz,
    "canonical_pose": lambda: canonical.canonical_pose(XYZ)[0],
    "procrustes": lambda: canonical.procrustes(OTHER, XYZ)[0],
    "fit_scale_translation": lambda: canonical.fit_scale_translation(OTHER, XYZ),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_autocast_changes_nothing(call):
    expected = call()
    with torch.autocast("cpu", torch.bfloat16):
        assert (torch.eye(2) @ torch.eye(2)).dtype == torch.bfloat16
        found = call()
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_half_precision_arguments_become_single_under_autocast():
    logits = LOGITS.bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        uv, probability = heatmap.soft_argmax(logits=logits)
    assert uv.dtype == probability.dtype == torch.float32
    torch.testing.assert_close(uv, heatmap.soft_argmax(logits.float())[0])


def test_the_function_keeps_its_name():
    assert full_precision(project).__name__ == "project"
