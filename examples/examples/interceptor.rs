//! An interceptor signs each call in, waits for a token when it has none, and refuses what it may not send.
//! Run it: cargo run --release --example interceptor

use std::error::Error;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use hedge_tokio::http::header::AUTHORIZATION;
use hedge_tokio::http::{HeaderValue, Request, RequestBody};
use hedge_tokio::{AfterCall, BeforeCall, Flow, Interceptor, Interceptors, Refusal};

#[derive(Default)]
struct SignIn {
    token: Mutex<Option<HeaderValue>>,
}

/// It fits every channel over HTTP, whatever its replies are.
impl<Reply, Error> Interceptor<Request<RequestBody>, Reply, Error> for SignIn {
    async fn before_call(&self, call: &mut BeforeCall<'_, Request<RequestBody>>) -> Result<Flow<Reply>, Refusal> {
        if call.request().uri().path().starts_with("/admin") {
            return Err("this program is no administrator".into());
        }
        let known = self.token.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let token = match known {
            Some(token) => token,
            // This counts against the timeout of the call.
            None => self.fetch().await?,
        };
        call.request_mut().headers_mut().insert(AUTHORIZATION, token);
        Ok(Flow::Continue)
    }

    fn after_call(&self, call: &AfterCall<'_, Request<RequestBody>, Reply, Error>) {
        println!("{}: {}", call.request().uri(), call.end());
    }
}

impl SignIn {
    async fn fetch(&self) -> Result<HeaderValue, Refusal> {
        // A program would ask its identity provider here.
        tokio::time::sleep(Duration::from_millis(20)).await;
        let mut token = HeaderValue::from_str("Bearer 12345")?;
        token.set_sensitive(true);
        *self.token.lock().unwrap_or_else(PoisonError::into_inner) = Some(token.clone());
        Ok(token)
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    // One list for all channels of the program.
    let interceptors = Interceptors::none().with(SignIn::default());
    let servers = format!("list://{},{}", server()?, server()?);
    let channel = hedge_tokio::builder(servers).load_balancer("rr").interceptors(&interceptors).build()?;

    for path in ["/users/1", "/users/2", "/admin"] {
        match channel.get(path).await {
            Ok(reply) => println!("{path}: {}", reply.text()?),
            Err(error) => println!("{path}: {error}"),
        }
    }
    Ok(())
}

/// Starts a server that answers each request with its `authorization`; a thread a connection.
fn server() -> io::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?.to_string();
    thread::spawn(move || {
        listener.incoming().flatten().for_each(|connection| drop(thread::spawn(move || serve(&connection))));
    });
    Ok(address)
}

fn serve(connection: &TcpStream) -> io::Result<()> {
    let (mut who, mut output) = ("nobody".to_owned(), connection);
    for line in BufReader::new(connection).lines() {
        let line = line?;
        if let Some(token) = line.strip_prefix("authorization: ") {
            token.clone_into(&mut who);
        } else if line.is_empty() {
            let text = format!("hello, {who}");
            write!(output, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{text}", text.len())?;
        }
    }
    Ok(())
}
