"""The matrices that likeness is computed with."""

import numpy as np

from shoebox.data import likeness


def test_no_blur_holds_numbers_that_processors_are_slow_with():
    for sigma in (0.5, 1.0, 2.5, 3.0, 10.0):
        blur = likeness._blur(sigma)
        np.testing.assert_allclose(blur.sum(1), 1, rtol=1e-5)
        assert not ((blur != 0) & (np.abs(blur) < np.finfo(np.float32).tiny)).any()
