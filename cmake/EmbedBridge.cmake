# SPDX-FileCopyrightText: the gradwind authors
# SPDX-License-Identifier: Apache-2.0
# Run with -P: writes OUTPUT, a source file that holds the text of SCRIPT as a raw string.
file(READ ${SCRIPT} text)
file(WRITE ${OUTPUT} "#include \"gradwind/cli/anemoi_bridge.h\"

namespace gradwind::cli
{

std::string_view bridge_script()
{
    return R\"BRIDGE(${text})BRIDGE\";
}

} // namespace gradwind::cli
")
