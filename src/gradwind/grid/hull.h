// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Convex hulls and planar Delaunay meshes by qhull, in a form that outlives qhull's structures.
#pragma once
#include <array>
#include <cstdint>
#include <vector>

namespace gradwind::grid::detail
{

/// Two neighbouring points and the two facets that meet in the side between them. -1: a facet beyond the rim of a
/// Delaunay mesh.
struct Side {
    std::array<int32_t, 2> points;
    std::array<int32_t, 2> facets;
};

struct Facets {
    std::vector<std::array<double, 3>>
        centres; ///< hull: outward unit normals; Delaunay: (x, y, 0) of the circumcentres
    std::vector<Side> sides;
};

/// Hull of points in space, [3n] coordinates. @throws DataError with qhull's reason
[[nodiscard]] Facets convex_hull(std::vector<double>& xyz);

/// Delaunay mesh of points in the plane, [2n] coordinates. Points on one circle share one facet.
[[nodiscard]] Facets delaunay(std::vector<double>& xy);

} // namespace gradwind::grid::detail
