# How node-gyp builds the native cpu backend. Each instruction set is a library of its own, since its flags must
# touch no other code. Without a compiler nothing is lost but speed: see scripts/install.mjs.
{
  "target_defaults": {
    # Results are run.c's bit for bit: every operation rounds, none is fused with another. See native/cpu/kernels.h.
    "cflags": ["-O3", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math", "-fvisibility=hidden", "-Wall", "-Wextra"],
    "cflags_cc": ["-std=c++17"],
    # exceptions stay within the addon: see native/addon/guard.h
    "cflags_cc!": ["-fno-exceptions", "-std=gnu++17", "-std=gnu++20"],
    "include_dirs": ["native/cpu"],
    "conditions": [
      ["OS=='mac'", {
        "xcode_settings": {
          "CLANG_CXX_LANGUAGE_STANDARD": "c++17",
          "GCC_ENABLE_CPP_EXCEPTIONS": "YES",
          "GCC_OPTIMIZATION_LEVEL": "3",
          "MACOSX_DEPLOYMENT_TARGET": "11.0",
          "OTHER_CPLUSPLUSFLAGS": ["-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math", "-fvisibility=hidden"]
        }
      }],
      # the kernels are written in the vector types of GCC and Clang
      ["OS=='win'", {
        "msbuild_toolset": "ClangCL",
        "msvs_settings": {
          "VCCLCompilerTool": {
            "ExceptionHandling": 1,
            "AdditionalOptions": ["/std:c++17", "/clang:-ffp-contract=off", "/clang:-fno-math-errno"]
          }
        }
      }]
    ]
  },
  "targets": [
    {
      "target_name": "kernels_base",
      "type": "static_library",
      "sources": ["native/cpu/kernels_base.cpp"]
    },
    {
      "target_name": "llama2_cpu",
      "sources": [
        "native/addon/addon.cpp",
        "native/addon/context.cpp",
        "native/addon/model.cpp",
        "native/cpu/forward.cpp",
        "native/cpu/isa.cpp",
        "native/cpu/matrix.cpp",
        "native/cpu/sampler.cpp",
        "native/cpu/sweep.cpp",
        "native/cpu/thread_pool.cpp",
        "native/cpu/transformer.cpp"
      ],
      "include_dirs": ["<!(node -p \"require('node-addon-api').include_dir\")"],
      # while a thread is being ended, calls still come in for a moment, but nothing works in them, not even throwing.
      # Without the last of these that aborts the process.
      "defines": ["NAPI_VERSION=9", "NAPI_DISABLE_CPP_EXCEPTIONS", "NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS"],
      "dependencies": ["kernels_base"],
      "conditions": [
        ["target_arch=='x64'", {"dependencies": ["kernels_avx2", "kernels_avx512"]}],
        ["target_arch=='arm64'", {"dependencies": ["kernels_neon"]}]
      ]
    }
  ],
  "conditions": [
    ["target_arch=='x64'", {
      "targets": [
        {
          "target_name": "kernels_avx2",
          "type": "static_library",
          "sources": ["native/cpu/kernels_avx2.cpp"],
          "cflags": ["-mavx2"],
          "xcode_settings": {"OTHER_CPLUSPLUSFLAGS": ["-mavx2"]},
          "msvs_settings": {"VCCLCompilerTool": {"AdditionalOptions": ["/clang:-mavx2"]}}
        },
        {
          "target_name": "kernels_avx512",
          "type": "static_library",
          "sources": ["native/cpu/kernels_avx512.cpp"],
          "cflags": ["-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mavx512vnni"],
          "xcode_settings": {
            "OTHER_CPLUSPLUSFLAGS": ["-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mavx512vnni"]
          },
          "msvs_settings": {
            "VCCLCompilerTool": {
              "AdditionalOptions": ["/clang:-mavx512f", "/clang:-mavx512bw", "/clang:-mavx512dq", "/clang:-mavx512vl", "/clang:-mavx512vnni"]
            }
          }
        }
      ]
    }],
    ["target_arch=='arm64'", {
      "targets": [
        {
          "target_name": "kernels_neon",
          "type": "static_library",
          "sources": ["native/cpu/kernels_neon.cpp"]
        }
      ]
    }]
  ]
}
