//! Files of servers, which change in every way that files change.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::panic, clippy::future_not_send, reason = "a test may stop at the first surprise")]

mod common;

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};

use common::{Folder, next, on_both, open, servers};
use hedge_fleet::{Naming as _, NamingErrorKind};
use hedge_link::{Runtime, before};
use hedge_naming::schemes;

on_both! {
    n1_a_file_is_read_by_the_grammar_of_lines
    n1_a_file_that_is_renamed_over_it_is_noticed
    n1_a_symbolic_link_anywhere_in_the_path_is_noticed
    n1_a_file_whose_content_stays_gives_no_update
    n1_an_empty_file_is_an_empty_list
    n2_a_file_that_vanishes_is_an_error_and_its_return_is_a_list
    n2_what_is_no_file_is_an_error_that_says_so
    n2_a_file_that_is_too_large_is_refused
    n6_those_who_name_one_url_share_one_watcher
    n6_if_the_one_that_drives_the_source_leaves_another_one_goes_on
}

async fn n1_a_file_is_read_by_the_grammar_of_lines<R: Runtime>(runtime: R) {
    let folder = Folder::new();
    folder.write(
        "list",
        b"\xef\xbb\xbf10.0.0.1:1 a  b # comment\r\n\n# none\nnope\n10.0.0.2:1 caf\xe9\n10.0.0.3:1 # caf\xe9",
    );
    let mut naming = open(&schemes(&runtime), &folder.url("list"));
    let (servers, rejected) = servers(naming.next().await);
    assert_eq!((servers, rejected), (vec!["10.0.0.1:1 a  b".into(), "10.0.0.3:1".into()], vec![4, 5]));
}

async fn n1_a_file_that_is_renamed_over_it_is_noticed<R: Runtime>(runtime: R) {
    let folder = Folder::new();
    folder.write("list", "10.0.0.1:1\n");
    let mut naming = open(&schemes(&runtime), &folder.url("list"));
    assert_eq!(next(&mut naming).await, ["10.0.0.1:1"]);
    for number in 2..5 {
        folder.write("list", format!("10.0.0.{number}:1\n"));
        assert_eq!(next(&mut naming).await, [format!("10.0.0.{number}:1")]);
    }
    // The new file is as old and as long as the one that it replaces.
    let modified = fs::metadata(folder.path("list")).unwrap().modified().unwrap();
    fs::write(folder.path("same"), "10.0.0.9:1\n").unwrap();
    File::open(folder.path("same")).unwrap().set_modified(modified).unwrap();
    fs::rename(folder.path("same"), folder.path("list")).unwrap();
    assert_eq!(next(&mut naming).await, ["10.0.0.9:1"]);
}

async fn n1_a_symbolic_link_anywhere_in_the_path_is_noticed<R: Runtime>(runtime: R) {
    // A mounted config map: list -> ..data/list, and ..data -> a folder that is replaced.
    let folder = Folder::new();
    let version = |name: &str, content: &str| {
        fs::create_dir(folder.path(name)).unwrap();
        fs::write(folder.path(name).join("list"), content).unwrap();
        symlink(name, folder.path("..data_tmp")).unwrap();
        fs::rename(folder.path("..data_tmp"), folder.path("..data")).unwrap();
    };
    version("..one", "10.0.0.1:1\n");
    symlink("..data/list", folder.path("list")).unwrap();
    let mut naming = open(&schemes(&runtime), &folder.url("list"));
    assert_eq!(next(&mut naming).await, ["10.0.0.1:1"]);
    version("..two", "10.0.0.2:1\n");
    fs::remove_dir_all(folder.path("..one")).unwrap();
    assert_eq!(next(&mut naming).await, ["10.0.0.2:1"]);
}

async fn n1_a_file_whose_content_stays_gives_no_update<R: Runtime>(runtime: R) {
    let folder = Folder::new();
    folder.write("list", "10.0.0.1:1\n");
    let mut naming = open(&schemes(&runtime), &folder.url("list"));
    assert_eq!(next(&mut naming).await, ["10.0.0.1:1"]);
    folder.write("list", "10.0.0.1:1\n");
    let second = std::time::Duration::from_millis(2_500);
    assert!(before(&runtime, Some(runtime.now() + second), naming.next()).await.is_none(), "nothing has changed");
    folder.write("list", "10.0.0.2:1\n");
    assert_eq!(next(&mut naming).await, ["10.0.0.2:1"]);
}

async fn n1_an_empty_file_is_an_empty_list<R: Runtime>(runtime: R) {
    let folder = Folder::new();
    folder.write("list", "10.0.0.1:1\n");
    let mut naming = open(&schemes(&runtime), &folder.url("list"));
    assert_eq!(next(&mut naming).await, ["10.0.0.1:1"]);
    folder.write("list", "");
    assert!(next(&mut naming).await.is_empty());
    folder.write("list", "# all gone\n");
    // The list is the same, and the file is not: its lines may be others.
    assert!(next(&mut naming).await.is_empty());
}

async fn n2_a_file_that_vanishes_is_an_error_and_its_return_is_a_list<R: Runtime>(runtime: R) {
    let folder = Folder::new();
    let mut naming = open(&schemes(&runtime), &folder.url("list"));
    let error = naming.next().await.unwrap_err();
    assert_eq!(error.kind(), NamingErrorKind::NotFound);
    assert!(error.to_string().starts_with(&format!("{}: not found: No such file", folder.url("list"))), "{error}");
    folder.write("list", "10.0.0.1:1\n");
    assert_eq!(next(&mut naming).await, ["10.0.0.1:1"]);
    fs::rename(folder.path("list"), folder.path("away")).unwrap();
    assert_eq!(naming.next().await.unwrap_err().kind(), NamingErrorKind::NotFound);
    fs::rename(folder.path("away"), folder.path("list")).unwrap();
    assert_eq!(next(&mut naming).await, ["10.0.0.1:1"], "the same list is given, which ends the error");
}

async fn n2_what_is_no_file_is_an_error_that_says_so<R: Runtime>(runtime: R) {
    let folder = Folder::new();
    fs::create_dir(folder.path("folder")).unwrap();
    let schemes = schemes(&runtime);
    let error = open(&schemes, &folder.url("folder")).next().await.unwrap_err();
    assert_eq!(error.to_string(), format!("{}: not valid: is a directory", folder.url("folder")));
    let error = open(&schemes, "file:///dev/null").next().await.unwrap_err();
    assert_eq!(error.to_string(), "file:///dev/null: not valid: is not a file", "a device or a pipe could block");
    folder.write("all bad", "nope\n");
    let error = open(&schemes, &folder.url("all bad")).next().await.unwrap_err();
    assert_eq!((error.kind(), error.place()), (NamingErrorKind::NoValidLine, Some("line 1")));
    folder.write("secret", "10.0.0.1:1\n");
    fs::set_permissions(folder.path("secret"), Permissions::from_mode(0o0)).unwrap();
    // The superuser may read every file.
    if File::open(folder.path("secret")).is_err() {
        let error = open(&schemes, &folder.url("secret")).next().await.unwrap_err();
        assert_eq!(error.kind(), NamingErrorKind::Denied, "{error}");
    }
    assert_eq!(schemes.open("file://").unwrap_err().to_string(), "file://: not valid: write a path after file://");
}

async fn n2_a_file_that_is_too_large_is_refused<R: Runtime>(runtime: R) {
    let folder = Folder::new();
    folder.write("list", "10.0.0.1:1\n");
    let mut naming = open(&schemes(&runtime), &folder.url("list"));
    assert_eq!(next(&mut naming).await, ["10.0.0.1:1"]);
    File::create(folder.path(".large")).unwrap().set_len(64 * 1024 * 1024 + 1).unwrap();
    fs::rename(folder.path(".large"), folder.path("list")).unwrap();
    let error = naming.next().await.unwrap_err();
    assert_eq!(error.to_string(), format!("{}: not valid: is larger than 64 MiB", folder.url("list")));
}

async fn n6_those_who_name_one_url_share_one_watcher<R: Runtime>(runtime: R) {
    let folder = Folder::new();
    folder.write("list", "10.0.0.1:1\n");
    let url = folder.url("list");
    let mut first = open(&schemes(&runtime), &url);
    assert_eq!(next(&mut first).await, ["10.0.0.1:1"]);
    fs::remove_file(folder.path("list")).unwrap();
    let mut second = open(&schemes(&runtime), &url);
    assert_eq!(next(&mut second).await, ["10.0.0.1:1"], "who comes later gets the current list at once");
    drop(first);
    assert_eq!(second.next().await.unwrap_err().kind(), NamingErrorKind::NotFound);
    let mut third = open(&schemes(&runtime), &url);
    assert_eq!(next(&mut third).await, ["10.0.0.1:1"], "the last list stays after an error");
    assert_eq!(third.next().await.unwrap_err().kind(), NamingErrorKind::NotFound);
    drop((second, third));
    let mut fourth = open(&schemes(&runtime), &url);
    assert_eq!(fourth.next().await.unwrap_err().kind(), NamingErrorKind::NotFound, "the last has ended the watcher");
}

async fn n6_if_the_one_that_drives_the_source_leaves_another_one_goes_on<R: Runtime>(runtime: R) {
    let folder = Folder::new();
    folder.write("list", "10.0.0.1:1\n");
    let schemes = schemes(&runtime);
    let (mut first, mut second) = (open(&schemes, &folder.url("list")), open(&schemes, &folder.url("list")));
    next(&mut first).await;
    next(&mut second).await;
    let mut driving = Box::pin(first.next());
    let mut waiting = Box::pin(second.next());
    std::future::poll_fn(|cx| {
        assert!(driving.as_mut().poll(cx).is_pending() && waiting.as_mut().poll(cx).is_pending());
        std::task::Poll::Ready(())
    })
    .await;
    drop(driving);
    folder.write("list", "10.0.0.2:1\n");
    assert_eq!(servers(waiting.await).0, ["10.0.0.2:1"]);
    assert_eq!(next(&mut first).await, ["10.0.0.2:1"]);
}
