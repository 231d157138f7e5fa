"""Quaternion algebra against the field's formulas, matrices and identities, all in float64."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from acclimate.errors import ConfigError
from acclimate.methods.parts.quaternions import QuaternionLinear, hamilton_product

DRAWS = 500
ONE, UNIT_I, UNIT_J, UNIT_K = torch.eye(4, dtype=torch.float64)[..., None]  # each (4, 1)


def draw(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def three():
    """Three lots of random quaternions, (4, DRAWS), of very different sizes."""
    return tuple(draw(4, DRAWS, seed=seed) * torch.logspace(-3, 3, DRAWS, dtype=torch.float64) for seed in range(3))


def close(actual, expected):
    torch.testing.assert_close(
        actual, expected, rtol=1e-12, atol=1e-12 * max(1.0, float(expected.detach().abs().max()))
    )


def conjugate(p):
    return torch.cat([p[..., :1, :], -p[..., 1:, :]], dim=-2)


def by_component(p, q):
    """(a1 + b1 i + c1 j + d1 k)(a2 + b2 i + c2 j + d2 k), multiplied out."""
    (a1, b1, c1, d1), (a2, b2, c2, d2) = p, q
    return torch.stack(
        [
            a1 * a2 - b1 * b2 - c1 * c2 - d1 * d2,
            a1 * b2 + b1 * a2 + c1 * d2 - d1 * c2,
            a1 * c2 - b1 * d2 + c1 * a2 + d1 * b2,
            a1 * d2 + b1 * c2 - c1 * b2 + d1 * a2,
        ]
    )


def as_real_matrix(p):
    """The matrix (4, 4) by which p multiplies from the left."""
    a, b, c, d = p
    return torch.stack([torch.stack(row) for row in ((a, -b, -c, -d), (b, a, -d, c), (c, d, a, -b), (d, -c, b, a))])


def as_complex_matrix(p):
    """[[a + b i, c + d i], [-c + d i, a - b i]]: the isomorphism with multiples of SU(2)."""
    a, b, c, d = p
    return torch.stack(
        [
            torch.stack([torch.complex(a, b), torch.complex(c, d)]),
            torch.stack([torch.complex(-c, d), torch.complex(a, -b)]),
        ]
    )


# ------------------------------------------------------------------------------------------------------- the product


def test_product_by_component(three):
    p, q, _ = three
    close(hamilton_product(p, q), by_component(p, q))


def test_product_by_real_matrices(three):
    p, q, _ = three
    close(hamilton_product(p, q), torch.einsum("rcn,cn->rn", as_real_matrix(p), q))
    close(as_real_matrix(hamilton_product(p, q)), torch.einsum("ran,acn->rcn", as_real_matrix(p), as_real_matrix(q)))


def test_product_by_complex_matrices(three):
    p, q, _ = three
    product = torch.einsum("ran,acn->rcn", as_complex_matrix(p), as_complex_matrix(q))
    found = as_complex_matrix(hamilton_product(p, q))
    close(found.real, product.real)
    close(found.imag, product.imag)


def test_units():
    for unit in (UNIT_I, UNIT_J, UNIT_K):
        assert torch.equal(hamilton_product(unit, unit), -ONE)
        assert torch.equal(hamilton_product(unit, ONE), unit)
        assert torch.equal(hamilton_product(ONE, unit), unit)
    assert torch.equal(hamilton_product(hamilton_product(UNIT_I, UNIT_J), UNIT_K), -ONE)
    for one, two, three in ((UNIT_I, UNIT_J, UNIT_K), (UNIT_J, UNIT_K, UNIT_I), (UNIT_K, UNIT_I, UNIT_J)):
        assert torch.equal(hamilton_product(one, two), three)
        assert torch.equal(hamilton_product(two, one), -three)


def test_associative_and_distributive(three):
    p, q, r = (lot / lot.norm(dim=0) for lot in three)
    close(hamilton_product(hamilton_product(p, q), r), hamilton_product(p, hamilton_product(q, r)))
    close(hamilton_product(p, q + r), hamilton_product(p, q) + hamilton_product(p, r))
    close(hamilton_product(p + q, r), hamilton_product(p, r) + hamilton_product(q, r))
    close(hamilton_product(2.5 * p, q), 2.5 * hamilton_product(p, q))


def test_lengths_multiply(three):
    p, q, _ = three
    torch.testing.assert_close(hamilton_product(p, q).norm(dim=0), p.norm(dim=0) * q.norm(dim=0), rtol=1e-12, atol=0.0)


def test_conjugates(three):
    p, q, _ = three
    close(conjugate(hamilton_product(p, q)), hamilton_product(conjugate(q), conjugate(p)))
    close(hamilton_product(p, conjugate(p)), p.square().sum(dim=0) * ONE)


def test_not_commutative(three):
    p, q, _ = (lot / lot.norm(dim=0) for lot in three)
    assert (hamilton_product(p, q) - hamilton_product(q, p)).norm(dim=0).min() > 1e-3
    real = p[0] * ONE
    close(hamilton_product(real, q), hamilton_product(q, real))


def test_shapes_broadcast():
    p, q = draw(3, 1, 4, 5), draw(2, 4, 5, seed=1)
    product = hamilton_product(p, q)
    assert product.shape == (3, 2, 4, 5)
    close(product[2, 1], hamilton_product(p[2, 0], q[1]))


# --------------------------------------------------------------------------------------------------------- the layer


def layer(inputs=24, outputs=16, seed=0):
    torch.manual_seed(seed)
    made = QuaternionLinear(inputs, outputs).double()
    nn.init.normal_(made.bias)
    return made


def parts(x):
    return dict(zip("rijk", x.chunk(4, dim=-1), strict=True))


def written_out(made, x):
    """The formulas for y_r, y_i, y_j, y_k with real matrices R, I, J, K."""
    r, i, j, k = made.weight.detach()
    x_r, x_i, x_j, x_k = x.chunk(4, dim=-1)
    y = [
        x_r @ r - x_i @ i - x_j @ j - x_k @ k,
        x_r @ i + x_i @ r - x_j @ k + x_k @ j,
        x_r @ j + x_i @ k + x_j @ r - x_k @ i,
        x_r @ k - x_i @ j + x_j @ i + x_k @ r,
    ]
    return torch.cat(y, dim=-1) + made.bias.detach()


def test_layer_sums_products_of_its_entries():
    made, x = layer(), draw(3, 24, seed=1)
    expected = torch.zeros(3, 4, 4, dtype=torch.float64)
    for row in range(3):
        for output in range(4):
            for entry in range(6):
                weight, value = made.weight[:, entry, output, None], x[row].view(4, 6)[:, entry, None]
                expected[row, :, output] += hamilton_product(weight, value)[:, 0].detach()
    close(made(**parts(x)).detach(), expected.flatten(1) + made.bias.detach())


def test_layer_by_the_written_formula():
    made, x = layer(), draw(2, 5, 24, seed=1)
    assert made(**parts(x)).shape == (2, 5, 16)
    close(made(**parts(x)).detach(), written_out(made, x))


def test_zero_padded_input_is_two_complex_maps():
    """With x = [0 | u1 | u2]: (y_j + i y_k) = (u1 + i u2)(R + i I) and (y_r + i y_i) = conj(u1 + i u2)(-J - i K)."""
    made, u = layer(), draw(7, 12, seed=1)
    u1, u2 = u.chunk(2, dim=-1)
    y = made(j=u1, k=u2).detach()
    close(y, written_out(made, torch.cat([torch.zeros_like(u), u], dim=-1)))
    y_r, y_i, y_j, y_k = (y - made.bias.detach()).chunk(4, dim=-1)
    r, i, j, k = made.weight.detach()
    upper, lower = torch.complex(u1, u2) @ torch.complex(r, i), torch.complex(u1, -u2) @ torch.complex(-j, -k)
    for found, expected in ((y_j, upper.real), (y_k, upper.imag), (y_r, lower.real), (y_i, lower.imag)):
        close(found, expected)


@pytest.mark.parametrize("given", ["r", "i", "ri", "jk", "rk", "ijk", ""])
def test_components_left_out_are_zero(given):
    made, x = layer(), draw(3, 24, seed=1)
    components = parts(x)
    padded = {name: value if name in given else torch.zeros_like(value) for name, value in components.items()}
    found = made(**{name: components[name] for name in given})
    close(found.expand(3, 16), made(**padded))


def test_components_broadcast():
    made, prompt, bias = layer(), draw(2, 6), draw(5, 1, 6, seed=1)
    found = made(r=prompt, i=bias)
    assert found.shape == (5, 2, 16)
    close(found[3, 1], made(r=prompt[1], i=bias[3, 0]))


@pytest.mark.parametrize(("inputs", "outputs"), [(8, 4), (24, 16), (1024, 512)])
def test_a_quarter_of_the_weights(inputs, outputs):
    made = QuaternionLinear(inputs, outputs)
    assert sum(values.numel() for values in made.parameters()) == inputs * outputs // 4 + outputs


def test_start():
    """Standard deviations as measured in the released layer; the parts have no mean, the phases no preference."""
    torch.manual_seed(0)
    made = QuaternionLinear(1024, 512)
    r, i, j, k = made.weight.detach()
    assert float(r.std()) == pytest.approx(0.051, rel=0.03)
    for part in (i, j, k):
        assert float(part.std()) == pytest.approx(0.030, rel=0.03)
    for part in (r, i, j, k):
        assert abs(float(part.mean())) < 0.001
    chi = made.weight.detach().norm(dim=0) * (2 * (256 + 128)) ** 0.5  # of four degrees of freedom
    assert float(chi.square().mean()) == pytest.approx(4.0, rel=0.02)
    assert float(chi.square().var()) == pytest.approx(8.0, rel=0.05)
    assert not made.bias.any()


def test_draws_follow_the_seed():
    assert torch.equal(layer(seed=3).weight, layer(seed=3).weight)
    assert not torch.equal(layer(seed=3).weight, layer(seed=4).weight)


@pytest.mark.parametrize(("inputs", "outputs", "width"), [(6, 8, 6), (8, 30, 30), (1, 4, 1)])
def test_widths_that_do_not_divide(inputs, outputs, width):
    with pytest.raises(ConfigError, match=f"a width of {width} does not divide by four; use mixer=dense") as caught:
        QuaternionLinear(inputs, outputs)
    assert "\n" not in str(caught.value)


def test_gradients():
    def run(weight, bias, r, i, j, k):
        return torch.func.functional_call(
            made, {"weight": weight, "bias": bias}, kwargs={"r": r, "i": i, "j": j, "k": k}
        )

    made = layer(8, 4)
    values = [made.weight, made.bias, *(draw(3, 2, seed=seed) for seed in range(4))]
    assert torch.autograd.gradcheck(run, [value.detach().requires_grad_() for value in values])
    p, q = draw(4, 3).requires_grad_(), draw(4, 3, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(hamilton_product, [p, q])
