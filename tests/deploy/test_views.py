import json

import numpy as np

from shoebox.deploy.views import look_again, may_be_mirrored, views


def test_only_the_unsure_are_looked_at_again():
    pictures = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
    calls = []

    def scores(batch):
        calls.append(len(batch))
        left = batch[:, :, :16].mean(axis=(1, 2, 3)) / 255
        return np.stack([left, 1 - left], axis=1).astype(np.float32), np.zeros((len(batch), 1), np.float32)

    pictures[0] = 255
    plain, _ = scores(pictures)
    again, _ = look_again(scores, 0.9, mirrored=True)(pictures)
    assert calls == [4, 4, *[3] * 5]
    np.testing.assert_array_equal(again[0], plain[0])
    assert (again[1:] != plain[1:]).all()
    np.testing.assert_allclose(again.sum(axis=1), 1, rtol=1e-6)


def test_views_keep_shape_and_mirror_only_where_training_did():
    pictures = np.arange(2 * 16 * 16 * 3, dtype=np.uint8).reshape(2, 16, 16, 3)
    up, down, left, right, mirror = views(pictures, mirrored=True)
    np.testing.assert_array_equal(up[:, 1:], pictures[:, :-1])
    np.testing.assert_array_equal(down[:, :-1], pictures[:, 1:])
    np.testing.assert_array_equal(left[:, :, 1:], pictures[:, :, :-1])
    np.testing.assert_array_equal(right[:, :, :-1], pictures[:, :, 1:])
    np.testing.assert_array_equal(mirror, pictures[:, :, ::-1])
    recipe = {"card": {"recipe": {"augment": ["translate(pixels=2)", "flip(p=0.5)"]}}}
    assert may_be_mirrored(recipe)
    assert not may_be_mirrored({**recipe, "preprocess": {"mirror": True}}), "it is, without being asked"
    assert not may_be_mirrored(json.loads('{"card": {"recipe": {"augment": ["flip_vertical"]}}}'))
