use std::os::unix::fs::PermissionsExt;

use super::*;

struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("sterna-local-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        Self(path)
    }

    fn socket(&self) -> Place {
        Place::Unix(self.0.join("s"))
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn serve(place: Place) -> Served {
    let listener = Listener::bind(place).expect("bound");
    let answer = async |request: Request<Bytes>| Response::new(request.into_body());
    listener.serve("local", answer).expect("served")
}

fn say(place: &Place, content: &'static [u8]) -> io::Result<Response<Bytes>> {
    let request = Request::post("/").body(Bytes::from_static(content)).expect("a request");
    ask(place, request, Duration::from_secs(10))
}

#[test]
fn a_unix_socket_is_its_owners_alone_and_is_gone_with_its_server() {
    let dir = Dir::new("mode");
    let served = serve(dir.socket());
    let Place::Unix(path) = served.place() else { panic!("{served:?}") };
    let mode = fs::metadata(path).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(say(served.place(), b"hello").expect("answered").body(), "hello");
    let path = path.clone();
    drop(served);
    assert!(!path.exists());
}

#[test]
fn a_place_that_a_server_has_is_refused_and_one_that_it_left_is_taken() {
    let dir = Dir::new("taken");
    let served = serve(dir.socket());
    let refused = Listener::bind(dir.socket()).expect_err("taken");
    assert_eq!(refused.kind(), io::ErrorKind::AddrInUse);
    drop(served);
    let Place::Unix(path) = dir.socket() else { unreachable!() };
    drop(std::os::unix::net::UnixListener::bind(&path).expect("bound"));
    assert!(path.exists(), "left behind");
    let served = serve(dir.socket());
    assert_eq!(say(served.place(), b"again").expect("answered").body(), "again");
}

#[test]
fn the_socket_of_a_server_that_came_later_stays() {
    let dir = Dir::new("later");
    let first = Listener::bind(dir.socket()).expect("bound");
    let Place::Unix(path) = dir.socket() else { unreachable!() };
    fs::remove_file(&path).expect("removed");
    let second = serve(dir.socket());
    drop(first);
    assert_eq!(say(second.place(), b"second").expect("answered").body(), "second");
}

#[test]
fn a_message_that_is_too_large_is_refused() {
    let served = serve(Place::Tcp(([127, 0, 0, 1], 0).into()));
    static LARGE: [u8; MAX_MESSAGE + 1] = [0; MAX_MESSAGE + 1];
    let response = say(served.place(), &LARGE[..MAX_MESSAGE]).expect("answered");
    assert_eq!(response.body().len(), MAX_MESSAGE);
    let response = say(served.place(), &LARGE).expect("answered");
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
}

#[test]
fn an_answer_that_is_being_made_is_given_before_the_end() {
    let dir = Dir::new("end");
    let listener = Listener::bind(dir.socket()).expect("bound");
    let (begun, begins) = mpsc::channel();
    let answer = move |_| {
        let begun = begun.clone();
        async move {
            begun.send(()).expect("heard");
            sleep(Duration::from_millis(50)).await;
            Response::new(Bytes::from_static(b"late"))
        }
    };
    let served = listener.serve("local", answer).expect("served");
    let place = served.place().clone();
    let asking = thread::spawn(move || say(&place, b""));
    begins.recv().expect("it is being answered");
    served.finish(Duration::from_secs(10));
    assert_eq!(asking.join().expect("no panic").expect("answered").body(), "late");
    assert!(say(&dir.socket(), b"").is_err(), "nobody is there any more");
}
