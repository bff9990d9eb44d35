//! Generates the DPDK bindings and compiles the C shim. Nothing generated is committed.
//!
//! Needs Debian's `libdpdk-dev`, `libclang-14-dev` (or newer) and `pkg-config`; `scripts/setup build` installs them.

use std::env;
use std::path::PathBuf;

/// The DPDK libraries that the allow-listed functions live in. Drivers are found at run time by EAL itself.
const LIBRARIES: &[&str] = &["rte_eal", "rte_mbuf", "rte_mempool", "rte_ethdev", "rte_net", "rte_vhost"];

/// Functions, types and variables that `src/` uses; everything else of DPDK stays out.
const FUNCTIONS: &[&str] = &[
    "rte_eal_init",
    "rte_eal_cleanup",
    "rte_strerror",
    "rte_thread_register",
    "rte_thread_unregister",
    "rte_dev_probe",
    "rte_dev_remove",
    "rte_eth_.*",
    "rte_pktmbuf_pool_create",
    "rte_pktmbuf_free",
    "rte_pktmbuf_free_bulk",
    "rte_pktmbuf_copy",
    "rte_mempool_avail_count",
    "rte_mempool_in_use_count",
    "rte_mempool_free",
    "rte_vhost_.*",
    "rte_log_set_global_level",
    "rte_log_cur_msg_loglevel",
    "rte_openlog_stream",
    "shunt_.*",
];

fn main() {
    println!("cargo:rerun-if-changed=shim/shim.c");
    println!("cargo:rerun-if-changed=shim/shim.h");
    println!("cargo:rerun-if-changed=shim/landing.c");
    println!("cargo:rerun-if-changed=shim/landing.h");

    let dpdk = pkg_config::Config::new()
        .atleast_version("22.11")
        .cargo_metadata(false)
        .probe("libdpdk")
        .unwrap_or_else(|error| {
            panic!("DPDK 22.11 or newer not found by pkg-config ({error}); run `scripts/setup build`")
        });

    let mut shim = cc::Build::new();
    shim.file("shim/shim.c")
        .file("shim/landing.c")
        .flag("-include")
        .flag("rte_config.h")
        .define("ALLOW_EXPERIMENTAL_API", None);
    // DPDK's inline functions need at least SSE4.2 (`-march=corei7` in its pkg-config file).
    shim.flag_if_supported("-march=x86-64-v3").flag("-Wno-deprecated-declarations").opt_level(3);
    shim.includes(&dpdk.include_paths);
    shim.compile("shunt_shim");

    for path in &dpdk.link_paths {
        println!("cargo:rustc-link-search=native={}", path.display());
    }
    for library in LIBRARIES {
        println!("cargo:rustc-link-lib=dylib={library}");
    }

    let mut bindings = bindgen::Builder::default()
        .header("shim/shim.h")
        .clang_args(["-include", "rte_config.h", "-DALLOW_EXPERIMENTAL_API", "-march=x86-64-v3"])
        .clang_args(dpdk.include_paths.iter().map(|path| format!("-I{}", path.display())))
        // Packed and aligned at once: Rust has no such layout (E0588), and none of their fields is used.
        .opaque_type("rte_arp_ipv4|rte_arp_hdr|rte_l2tpv2.*|rte_gtp_psc.*|rte_crypto.*|port_params")
        .blocklist_item(".*_x4|.*m128.*|rte_vlog")
        .allowlist_type("rte_mbuf|rte_eth_.*|rte_vhost_.*")
        .allowlist_var(
            "RTE_ETH_.*|RTE_MBUF_.*|RTE_PKTMBUF_.*|RTE_VHOST_.*|RTE_MAX_.*|RTE_LOG_.*|SHUNT_.*|SOCKET_ID_ANY",
        )
        .derive_default(true)
        .layout_tests(false)
        .generate_comments(false)
        .prepend_enum_name(false);
    for function in FUNCTIONS {
        bindings = bindings.allowlist_function(function);
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join("dpdk.rs");
    bindings
        .generate()
        .expect("bindgen failed on the DPDK headers; is libclang installed? run `scripts/setup build`")
        .write_to_file(&out)
        .expect("the bindings cannot be written to OUT_DIR");
}
