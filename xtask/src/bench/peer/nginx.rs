//! nginx with HTTP/3, its cryptography by AWS-LC: both from crates that carry the sources.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::super::contender::{Contender, Facts, Kind};
use super::{first_line, step};

/// The built program, or why there is none. A build takes a few minutes.
pub(super) fn find(folder: &Path, build: bool) -> Result<Contender, String> {
    let program = folder.join("nginx/nginx");
    if !program.exists() {
        if !build {
            return Err("not built".to_owned());
        }
        make(&folder.join("nginx"), &program)?;
    }
    let version = first_line(Command::new(&program).arg("-v"));
    Ok(Contender {
        name: "nginx",
        program,
        kind: Kind::Nginx,
        facts: Facts {
            version: version
                .ok_or("the built program does not run")?
                .replace("nginx version: ", ""),
            cryptography: "AWS-LC",
            congestion: "cubic",
        },
        divisor: 1,
    })
}

fn make(folder: &Path, program: &Path) -> Result<(), String> {
    eprintln!("building nginx and AWS-LC");
    fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let log = folder.join("build.log");
    let (nginx, aws_lc) = sources()?;
    let built = folder.join("aws-lc");
    let built = Library { include: built.join("include"), objects: built.join("lib") };
    if !built.objects.join("libssl.a").exists() {
        build_aws_lc(&log, folder, &aws_lc)?;
    }
    build_nginx(&log, folder, &nginx, &built)?;
    // Last, so that a build which was broken off is not taken for one.
    fs::copy(folder.join("source/objs/nginx"), program)
        .map(|_| ())
        .map_err(|error| format!("nginx was built but is not there: {error}"))
}

struct Library {
    include: PathBuf,
    objects: PathBuf,
}

/// Where cargo has unpacked the crates: nginx, then AWS-LC.
fn sources() -> Result<(PathBuf, PathBuf), String> {
    let manifest = crate::workspace_root().join("bench/peers/sources/Cargo.toml");
    let mut cargo = Command::new(super::super::cargo());
    cargo.args(["metadata", "--locked", "--format-version", "1", "--manifest-path"]).arg(manifest);
    let output = cargo.output().map_err(|error| format!("cargo does not run: {error}"))?;
    let metadata: Value = serde_json::from_slice(&output.stdout).map_err(|_| {
        format!("the sources cannot be fetched: {}", String::from_utf8_lossy(&output.stderr))
    })?;
    let folder_of = |name: &str| {
        let packages = metadata["packages"].as_array()?;
        let package = packages.iter().find(|package| package["name"] == name)?;
        Path::new(package["manifest_path"].as_str()?).parent().map(Path::to_path_buf)
    };
    let found = folder_of("nginx-src").zip(folder_of("aws-lc-sys"));
    let (nginx, aws_lc) = found.ok_or("the crates of the sources are not what they were")?;
    Ok((nginx.join("nginx"), aws_lc.join("aws-lc")))
}

fn build_aws_lc(log: &Path, folder: &Path, source: &Path) -> Result<(), String> {
    let build = folder.join("aws-lc-build");
    let mut configure = Command::new("cmake");
    configure.arg("-S").arg(source).arg("-B").arg(&build);
    configure.arg(format!("-DCMAKE_INSTALL_PREFIX={}", folder.join("aws-lc").display()));
    configure.args(["-DCMAKE_BUILD_TYPE=Release", "-DCMAKE_INSTALL_LIBDIR=lib"]);
    configure.args(["-DBUILD_SHARED_LIBS=OFF", "-DBUILD_TESTING=OFF", "-DBUILD_TOOL=OFF"]);
    configure.args(["-DDISABLE_GO=ON", "-DDISABLE_PERL=ON"]);
    step(log, &mut configure)?;
    step(log, Command::new("cmake").arg("--build").arg(build).args(["-j2", "--target", "install"]))
}

fn build_nginx(log: &Path, folder: &Path, source: &Path, library: &Library) -> Result<(), String> {
    // The build writes into its source, which is cargo's.
    let copy = folder.join("source");
    let _ = fs::remove_dir_all(&copy);
    step(log, Command::new("cp").args(["-r", "--no-preserve=mode"]).arg(source).arg(&copy))?;

    let header = crate::workspace_root().join("bench/peers/aws-lc.h");
    let compiler = format!(
        "-O2 -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -Wno-error -I{} -include {}",
        library.include.display(),
        header.display()
    );
    let linker = format!("-L{} -lstdc++ -lpthread", library.objects.display());
    let mut configure = Command::new("bash");
    configure.current_dir(&copy).args(["auto/configure", "--prefix=."]);
    configure.args(["--with-http_ssl_module", "--with-http_v2_module", "--with-http_v3_module"]);
    // Neither is asked for here, and each would want a library more.
    configure.args(["--without-http_rewrite_module", "--without-http_gzip_module"]);
    configure.arg(format!("--with-cc-opt={compiler}")).arg(format!("--with-ld-opt={linker}"));
    step(log, &mut configure)?;
    step(log, Command::new("make").arg("-j2").current_dir(&copy))
}
