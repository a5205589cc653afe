// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/ops/projection.h"

#include "gradwind/core/error.h"
#include "tests/support/gradients.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

namespace gradwind::ops
{
namespace
{

/// 4 x 5 with an empty row and a column that stands twice in a row.
struct Matrix {
    std::vector<int64_t> row_ptr = {0, 3, 3, 5, 6}, col = {0, 2, 2, 4, 1, 3};
    std::vector<double> values = {0.5, 0.25, 0.25, 2, -1, 3};
    at::Tensor dense = at::tensor({0.5, 0.0,  0.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0,
                                   0.0, -1.0, 0.0, 0.0, 2.0, 0.0, 0.0, 0.0, 3.0, 0.0},
                                  at::kDouble)
                           .reshape({4, 5});
    [[nodiscard]] Projection projection() const { return make_projection(row_ptr, col, values, 5); }
};

TEST(Projection, IsTheMatrixTimesEachField)
{
    const Matrix matrix;
    const auto x = at::randn({2, 3, 5, 7}, at::kDouble);
    const auto y = project(x, matrix.projection());
    EXPECT_EQ(y.sizes(), (std::vector<int64_t>{2, 3, 4, 7}));
    EXPECT_LT((y - at::matmul(matrix.dense, x)).abs().max().item<double>(), 1e-14);
    EXPECT_EQ(project(x.to(at::kFloat), matrix.projection()).scalar_type(), at::kFloat);
}

TEST(Projection, GradientsAgreeWithFiniteDifferences)
{
    const auto projection = Matrix().projection();
    const auto x = at::randn({2, 5, 3}, at::kDouble).requires_grad_(true);
    test::expect_true_gradients([&] { return test::weighted_sum(project(x, projection)); }, {x});
}

TEST(Projection, ThreadsChangeNoBit)
{
    const auto projection = Matrix().projection();
    const auto threads = at::get_num_threads();
    const auto x = at::randn({90, 5, 3});
    at::set_num_threads(1);
    const auto one = project(x, projection);
    at::set_num_threads(4);
    const auto four = project(x, projection);
    at::set_num_threads(threads);
    EXPECT_TRUE(at::equal(one, four));
}

TEST(Projection, WhatDoesNotFitIsRefused)
{
    const Matrix matrix;
    EXPECT_THROW((void)project(at::zeros({4, 3}), matrix.projection()), ShapeError);
    EXPECT_THROW((void)make_projection(matrix.row_ptr, matrix.col, {}, 5), ShapeError);
    EXPECT_THROW((void)make_projection(matrix.row_ptr, matrix.col, matrix.values, 4), ShapeError);
}

} // namespace
} // namespace gradwind::ops
