# Puts files into the binary. embed_files(target symbol_prefix root file...) makes a table
#   const struct embedded_file <prefix>_files[]; const size_t <prefix>_file_count;
# (src/base/embed.h) whose names are relative to root. The bytes come in through .incbin, unaltered.
function(embed_files target prefix root)
  set(asm "${CMAKE_CURRENT_BINARY_DIR}/${prefix}_files.S")
  set(table "${CMAKE_CURRENT_BINARY_DIR}/${prefix}_files.c")
  set(asm_text ".section .rodata\n")
  set(externs "")
  set(rows "")
  set(index 0)
  foreach(file IN LISTS ARGN)
    file(RELATIVE_PATH name "${root}" "${file}")
    string(APPEND asm_text
      ".global ${prefix}_${index}\n${prefix}_${index}:\n.incbin \"${file}\"\n.global ${prefix}_${index}_end\n${prefix}_${index}_end:\n.byte 0\n")
    string(APPEND externs "extern const char ${prefix}_${index}[], ${prefix}_${index}_end[];\n")
    string(APPEND rows "    {\"${name}\", ${prefix}_${index}, ${prefix}_${index}_end},\n")
    math(EXPR index "${index} + 1")
  endforeach()
  string(APPEND asm_text ".section .note.GNU-stack,\"\",@progbits\n")
  file(CONFIGURE OUTPUT "${asm}" CONTENT "${asm_text}" @ONLY)
  file(CONFIGURE OUTPUT "${table}" CONTENT "#include \"base/embed.h\"\n${externs}const struct embedded_file ${prefix}_files[] = {\n${rows}    {0},\n};\nconst size_t ${prefix}_file_count = ${index};\n" @ONLY)
  set_source_files_properties("${asm}" PROPERTIES OBJECT_DEPENDS "${ARGN}")
  target_sources(${target} PRIVATE "${asm}" "${table}")
endfunction()
