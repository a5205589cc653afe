# SPDX-FileCopyrightText: the gradwind authors
# SPDX-License-Identifier: Apache-2.0
# Run with -P: writes OUTPUT, a source file that holds every *.yaml below FOLDER as a raw string.
file(GLOB_RECURSE files RELATIVE ${FOLDER} ${FOLDER}/*.yaml)
list(SORT files)
set(body "")
foreach(file IN LISTS files)
  file(READ ${FOLDER}/${file} text)
  string(REGEX REPLACE "\\.yaml$" "" name ${file})
  string(APPEND body "    {\"${name}\", R\"GROUP(${text})GROUP\"},\n")
endforeach()
file(WRITE ${OUTPUT} "#include \"gradwind/core/config_groups.h\"

namespace gradwind
{

namespace
{

constexpr PackagedGroup groups[] = {
${body}};

} // namespace

std::span<const PackagedGroup> packaged_groups()
{
    return groups;
}

} // namespace gradwind
")
