//! Serves a folder of static files on this machine: the playground of `downhill`, to look at it.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Component, Path, PathBuf};

use oxhttp::model::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use oxhttp::model::{Body, Method, Request, Response, StatusCode};
use oxhttp::{ListeningServer, Server};

/// Serves `folder` on localhost, on any free port if `port` is 0, and returns the address and the server, which goes on
/// in the background.
///
/// Whoever asks for a folder gets its `index.html`. Nothing outside of `folder` is served, and nothing to other machines.
///
/// # Errors
///
/// If there is no such folder, or the port is taken.
pub fn serve(folder: &Path, port: u16) -> io::Result<(String, ListeningServer)> {
    let folder = folder.canonicalize()?;
    let port = match port {
        0 => TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
            .local_addr()?
            .port(),
        port => port,
    };
    let server = Server::new(move |request| answer(&folder, request));
    let server = server.bind((Ipv4Addr::LOCALHOST, port)).spawn()?;
    Ok((format!("http://localhost:{port}/"), server))
}

fn answer(folder: &Path, request: &Request<Body>) -> Response<Body> {
    let said = |status: StatusCode, body: Body| {
        let response = Response::builder().status(status);
        // What is built anew is seen at once.
        let response = response.header(CACHE_CONTROL, "no-cache");
        response.header(ALLOW, "GET, HEAD").body(body)
    };
    let plain = |status: StatusCode| said(status, status.to_string().into());
    let response = match (request.method(), file(folder, request.uri().path())) {
        (&Method::GET | &Method::HEAD, Some(path)) => match fs::read(&path) {
            Ok(bytes) => said(StatusCode::OK, bytes.into()).map(|mut response| {
                let kind = kind(&path).parse().expect("a kind is a header's value");
                response.headers_mut().insert(CONTENT_TYPE, kind);
                response
            }),
            Err(_) => plain(StatusCode::NOT_FOUND),
        },
        (&Method::GET | &Method::HEAD, None) => plain(StatusCode::NOT_FOUND),
        _ => plain(StatusCode::METHOD_NOT_ALLOWED),
    };
    response.expect("the headers are sound")
}

/// The file of a path, if it is one within the folder.
fn file(folder: &Path, path: &str) -> Option<PathBuf> {
    let path = Path::new(path.trim_start_matches('/'));
    let is_within = path
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    let mut path = is_within.then(|| folder.join(path))?;
    if path.is_dir() {
        path.push("index.html");
    }
    // A link may lead elsewhere.
    path.canonicalize()
        .ok()
        .filter(|path| path.starts_with(folder))
}

/// The media type of a file, without which a browser runs no module.
fn kind(path: &Path) -> &'static str {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("json") => "application/json",
        Some("svg") => "image/svg+xml",
        Some("wasm") => "application/wasm",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;

    use super::*;

    fn asked(address: &str, request: &str) -> String {
        let host = address.trim_start_matches("http://").trim_end_matches('/');
        let mut stream = TcpStream::connect(host).unwrap();
        write!(
            stream,
            "{request} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn files_of_the_folder_and_no_others() {
        let outside = std::env::temp_dir().join(format!("downhill-site-{}", std::process::id()));
        let folder = outside.join("site");
        fs::create_dir_all(folder.join("part")).unwrap();
        fs::write(outside.join("secret"), "secret").unwrap();
        fs::write(folder.join("index.html"), "front").unwrap();
        fs::write(folder.join("part/index.html"), "part").unwrap();
        fs::write(folder.join("some.wasm"), "module").unwrap();
        let (address, _server) = serve(&folder, 0).unwrap();
        let front = asked(&address, "GET /");
        assert!(
            front.starts_with("HTTP/1.1 200") && front.ends_with("front"),
            "{front}"
        );
        assert!(front.contains("content-type: text/html"), "{front}");
        assert!(asked(&address, "GET /part").ends_with("part"));
        assert!(asked(&address, "GET /some.wasm").contains("application/wasm"));
        for path in [
            "/../secret",
            "/%2e%2e/secret",
            "/part/../../secret",
            "/none",
            "//etc/passwd",
        ] {
            let answer = asked(&address, &format!("GET {path}"));
            assert!(
                !answer.contains("secret") && !answer.contains("200 OK"),
                "{path}: {answer}"
            );
        }
        assert!(asked(&address, "POST /").starts_with("HTTP/1.1 405"));
        assert!(serve(&folder.join("none"), 0).is_err());
        fs::remove_dir_all(outside).unwrap();
    }
}
