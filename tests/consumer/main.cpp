// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include <gradwind/core/variables.h>
#include <gradwind/grid/gaussian.h>

#include <cstdio>

int main()
{
    const std::vector<std::string> forcing = {"insolation"};
    const gradwind::VariableTable table({"2t", "insolation"}, forcing, {});
    std::printf("%d inputs, %d outputs\n", int(table.n_input()), int(table.n_output()));
    return table.n_input() == 2 && table.n_output() == 1 && gradwind::grid::gaussian_latitudes(32).size() == 64 ? 0 : 1;
}
