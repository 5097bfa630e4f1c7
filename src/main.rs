//! The `jostle` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    quiet_device_select();
    ExitCode::from(jostle::cli::main(std::env::args_os()))
}

/// Mesa's device-select layer asks for a Wayland display and complains on stderr where a machine has no desktop, as
/// containers and servers have none. We choose the adapter ourselves: the layer is not needed.
#[expect(unsafe_code, reason = "the environment may only be written while there is one thread")]
fn quiet_device_select() {
    if std::env::var_os("XDG_RUNTIME_DIR").is_none() {
        // SAFETY: nothing else runs yet: this is the first statement of `main`, before any thread is started, so no
        // other thread reads the environment meanwhile.
        unsafe { std::env::set_var("NODEVICE_SELECT", "1") };
    }
}
