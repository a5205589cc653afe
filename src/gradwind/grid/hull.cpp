// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/grid/hull.h"

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <unordered_map>

extern "C" {
#include <libqhull_r/qhull_ra.h>
}

#include "gradwind/core/error.h"

namespace gradwind::grid::detail
{

namespace
{

/// One run of qhull. What it has to say about an error goes into the exception, not to a stream.
class Qhull
{
public:
    Qhull(int dimension, std::vector<double>& coordinates, const char* options)
    {
        const auto n = static_cast<int>(coordinates.size() / static_cast<size_t>(dimension));
        char* text = nullptr;
        size_t size = 0;
        FILE* messages = open_memstream(&text, &size);
        GRADWIND_ASSERT(messages != nullptr);
        qh_zero(&state_, messages);
        std::string command(options);
        const int exit_code =
            qh_new_qhull(&state_, dimension, n, coordinates.data(), False, command.data(), nullptr, messages);
        std::fclose(messages);
        const std::string said(text, size);
        std::free(text);
        state_.ferr = stderr; // only reached by a broken invariant inside qhull
        if (exit_code != 0) {
            release();
            throw DataError(
                fmt::format("[grid] qhull cannot tessellate {} points: {}", n, said.substr(0, said.find('\n'))));
        }
    }
    ~Qhull() { release(); }
    Qhull(const Qhull&) = delete;
    Qhull& operator=(const Qhull&) = delete;
    qhT* get() { return &state_; }

private:
    void release()
    {
        qh_freeqhull(&state_, !qh_ALL);
        int memory_left = 0;
        int blocks_left = 0;
        qh_memfreeshort(&state_, &memory_left, &blocks_left);
    }
    qhT state_{};
};

/// Calls use(facet, neighbour, first vertex, second vertex) once for every side of the hull. Ridges exist only next to
/// facets that are no simplices; between simplices the side is what is left without one vertex.
template <class Use>
void for_each_side(qhT* qh, const Use& use)
{
    facetT* facet = nullptr;
    FORALLfacets
    {
        if (facet->simplicial) {
            for (int i = 0; i < 3; ++i) {
                const auto* neighbour = SETelemt_(facet->neighbors, i, facetT);
                if (!neighbour->simplicial || facet->id > neighbour->id)
                    continue;
                use(facet, neighbour, SETelemt_(facet->vertices, (i + 1) % 3, vertexT),
                    SETelemt_(facet->vertices, (i + 2) % 3, vertexT));
            }
            continue;
        }
        const int n_ridges = qh_setsize(qh, facet->ridges);
        for (int i = 0; i < n_ridges; ++i) {
            ridgeT* ridge = SETelemt_(facet->ridges, i, ridgeT);
            const facetT* neighbour = ridge->top == facet ? ridge->bottom : ridge->top;
            if (neighbour->simplicial || facet->id < neighbour->id)
                use(facet, neighbour, SETelemt_(ridge->vertices, 0, vertexT), SETelemt_(ridge->vertices, 1, vertexT));
        }
    }
}

/// Numbers the facets that `wanted` takes and gathers sides; other facets are -1.
template <class Wanted, class Centre>
Facets gather(qhT* qh, int n_points, const Wanted& wanted, const Centre& centre)
{
    Facets result;
    std::unordered_map<unsigned, int32_t> numbers;
    numbers.reserve(static_cast<size_t>(qh->num_facets));
    facetT* facet = nullptr;
    FORALLfacets
    {
        if (wanted(facet)) {
            numbers[facet->id] = static_cast<int32_t>(result.centres.size());
            result.centres.push_back(centre(facet));
        }
    }
    const auto number_of = [&](const facetT* f) {
        const auto found = numbers.find(f->id);
        return found == numbers.end() ? -1 : found->second;
    };
    for_each_side(qh, [&](const facetT* a, const facetT* b, vertexT* v, vertexT* w) {
        const int first = qh_pointid(qh, v->point);
        const int second = qh_pointid(qh, w->point);
        const std::array<int32_t, 2> facets{number_of(a), number_of(b)};
        const bool outside = facets[0] < 0 && facets[1] < 0;
        if (!outside && first >= 0 && second >= 0 && first < n_points && second < n_points)
            result.sides.push_back({{first, second}, facets});
    });
    return result;
}

} // namespace

Facets convex_hull(std::vector<double>& xyz)
{
    Qhull hull(3, xyz, "qhull");
    return gather(
        hull.get(), static_cast<int>(xyz.size() / 3), [](const facetT*) { return true; },
        [](const facetT* facet) {
            return std::array<double, 3>{facet->normal[0], facet->normal[1], facet->normal[2]};
        });
}

Facets delaunay(std::vector<double>& xy)
{
    Qhull hull(2, xy, "qhull d Qbb Qc Qz");
    qhT* qh = hull.get();
    qh_setvoronoi_all(qh);
    return gather(
        qh, static_cast<int>(xy.size() / 2),
        [](const facetT* facet) { return facet->upperdelaunay == 0 && facet->center != nullptr; },
        [](const facetT* facet) {
            return std::array<double, 3>{facet->center[0], facet->center[1], 0};
        });
}

} // namespace gradwind::grid::detail
