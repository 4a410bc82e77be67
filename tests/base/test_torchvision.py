from shoebox.base.torchvision import import_torchvision


def test_torchvision_and_timm_import_whatever_build_is_installed() -> None:
    torchvision = import_torchvision()
    assert import_torchvision() is torchvision
    assert torchvision.models.resnet18 and torchvision.datasets.CIFAR10
    import timm

    assert timm.is_model("resnet18")
