//! Calls from plain threads, without an async runtime in the program ([W1](hedge_core::rules#W1)).
//!
//! ```
//! # use std::io::{Read, Write};
//! # fn server() -> std::net::SocketAddr {
//! #     let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
//! #     let address = listener.local_addr().unwrap();
//! #     std::thread::spawn(move || for stream in listener.incoming() {
//! #         let mut stream = stream.unwrap();
//! #         stream.read(&mut [0; 1024]).unwrap();
//! #         stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello").unwrap();
//! #     });
//! #     address
//! # }
//! # let (one, two) = (server(), server());
//! use hedge_smol::blocking;
//!
//! // In a program: "list://10.0.0.1:8001,10.0.0.2:8001".
//! let channel = blocking::ways(blocking::builder(format!("list://{one},{two}")).load_balancer("rr").build()?);
//! let reply = channel.call(blocking::get("/users/7")?).wait()?;
//! println!("{}", reply.text()?);
//! # assert_eq!(reply.text()?, "hello");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`Ways`] has the other ways: a callback, or several calls that are started and then joined. Each call gives a
//! [`Handle`] before it starts, so that another thread can cancel or join it:
//!
//! ```no_run
//! use hedge_smol::blocking;
//!
//! let channel = blocking::ways(blocking::builder("10.0.0.1:8001").build()?);
//! let call = channel.call(blocking::get("/users/7")?);
//! let handle = call.handle();
//! call.callback(|result| match result {
//!     Ok(reply) => println!("{}", reply.status()),
//!     Err(error) => println!("{error}"),
//! });
//! handle.join()?; // until the callback has returned
//!
//! let calls = [channel.call(blocking::get("/a")?).start(), channel.call(blocking::get("/b")?).start()];
//! let replies = blocking::join_all(calls);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod channel;
mod threaded;

pub use channel::{Builder, Channel, Http, builder, get, ways};
pub use hedge_compose::{Ended, Handle, HandleId, JoinError, PreparedCall, Started, WayError, Ways, join_all};
pub use threaded::Threaded;
