# SPDX-FileCopyrightText: the gradwind authors
# SPDX-License-Identifier: Apache-2.0
# Run with -P: writes OUTPUT, a source file that holds the texts of SCRIPTS, names joined by commas, as raw strings.
string(REPLACE "," ";" scripts "${SCRIPTS}")
set(entries "")
foreach(script ${scripts})
  file(READ ${script} text)
  get_filename_component(name ${script} NAME)
  string(APPEND entries "        {\"${name}\", R\"BRIDGE(${text})BRIDGE\"},\n")
endforeach()
file(WRITE ${OUTPUT} "#include \"gradwind/cli/anemoi_bridge.h\"

namespace gradwind::cli
{

std::span<const BridgeScript> bridge_scripts()
{
    static constexpr BridgeScript scripts[] = {
${entries}    };
    return scripts;
}

} // namespace gradwind::cli
")
