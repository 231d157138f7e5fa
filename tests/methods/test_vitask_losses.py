"""The three losses of VITask by hand, see Bai et al. 2024, equations 1 to 6."""

import math

import pytest
import torch
from torch.nn import functional as F

from acclimate.methods.parts.teaching import cross_entropy, token_mean
from acclimate.methods.vitask.losses import alignment, among, contrast, divergence


def logits(*rows):
    return torch.tensor(rows, dtype=torch.float64).log()


def test_a_mean_over_tokens_then_over_images_does_not_weigh_long_responses_more():
    values, lengths = torch.tensor([1.0, 2.0, 3.0, 10.0]), torch.tensor([3, 1])
    assert token_mean(values, lengths) == pytest.approx((2.0 + 10.0) / 2)
    assert token_mean(values, torch.tensor([3, 0, 1])) == pytest.approx((2.0 + 10.0) / 2)
    assert token_mean(values[:0], torch.tensor([0, 0])) == 0.0


def test_cross_entropy_is_the_mean_of_the_log_probabilities():
    z = logits([0.5, 0.25, 0.25], [0.1, 0.8, 0.1], [0.2, 0.2, 0.6])
    found = cross_entropy(z, torch.tensor([0, 1, 2]), torch.tensor([2, 1]))
    assert found == pytest.approx(((-math.log(0.5) - math.log(0.8)) / 2 - math.log(0.6)) / 2, rel=1e-6)


def test_the_direction_of_the_divergence():
    student, teacher = logits([0.5, 0.5]), logits([0.9, 0.1])
    forward = 0.5 * math.log(0.5 / 0.9) + 0.5 * math.log(0.5 / 0.1)  # KL(student || teacher)
    backward = 0.9 * math.log(0.9 / 0.5) + 0.1 * math.log(0.1 / 0.5)
    assert forward != pytest.approx(backward, rel=0.05)
    assert divergence(student, teacher).item() == pytest.approx(forward, rel=1e-6)
    one = torch.tensor([1])
    assert alignment(student, teacher, one).item() == pytest.approx(forward, rel=1e-6)
    assert alignment(student, teacher, one, direction="teacher-student").item() == pytest.approx(backward, rel=1e-6)
    library = F.kl_div(teacher.log_softmax(-1), student.log_softmax(-1), log_target=True, reduction="sum")
    assert divergence(student, teacher).item() == pytest.approx(library.item(), rel=1e-6)


@pytest.mark.parametrize("detach", [True, False])
def test_alignment_gives_the_teacher_no_gradient_unless_asked(detach):
    student, teacher = (torch.randn(4, 7, requires_grad=True) for _ in range(2))
    alignment(student, teacher, torch.tensor([3, 1]), detach=detach).backward()
    assert student.grad.abs().sum() > 0
    assert (teacher.grad is None) == detach


def test_alignment_of_equal_branches_is_zero():
    z = torch.randn(5, 11)
    assert alignment(z, z.clone(), torch.tensor([2, 3])).item() == pytest.approx(0.0, abs=1e-7)


@pytest.mark.parametrize("vocabulary", [7, 6144])
def test_contrast_of_equal_branches_is_the_logarithm_of_the_vocabulary(vocabulary):
    z = torch.randn(3, vocabulary)
    found = contrast(z, z.clone(), torch.tensor([0, 3, 5]), torch.tensor([1, 2]))
    assert found.item() == pytest.approx(math.log(vocabulary), rel=1e-6)


def test_contrast_is_the_ratio_of_the_probabilities():
    own, other = logits([0.6, 0.3, 0.1]), logits([0.2, 0.4, 0.4])
    ratio = torch.tensor([0.6 / 0.2, 0.3 / 0.4, 0.1 / 0.4])
    expected = -torch.log(ratio[0] / ratio.sum())
    assert contrast(own, other, torch.tensor([0]), torch.tensor([1])).item() == pytest.approx(expected.item(), rel=1e-6)


def test_contrast_subtracts_in_full_precision():
    own, other = torch.tensor([[16.03, 16.0]]), torch.tensor([[16.0, 16.0]])
    exact = contrast(own, other, torch.tensor([0]), torch.tensor([1]))
    assert exact.item() == pytest.approx(math.log(1 + math.exp(-0.03)), rel=1e-4)
    assert contrast(own, other, torch.tensor([0]), torch.tensor([1])).dtype == torch.float32


@pytest.mark.parametrize("detach", [True, False])
def test_contrast_reaches_both_images_unless_asked(detach):
    own, other = (torch.randn(4, 7, requires_grad=True) for _ in range(2))
    contrast(own, other, torch.tensor([0, 1, 2, 3]), torch.tensor([3, 1]), detach=detach).backward()
    assert own.grad.abs().sum() > 0
    assert (other.grad is None) == detach


def test_tokens_of_some_images_are_counted_image_by_image():
    chosen = torch.tensor([True, False, True, True, False, False])
    assert among(torch.tensor([3, 2, 1]), chosen).tolist() == [2, 1, 0]
