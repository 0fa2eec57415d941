<?php
// The page of build/demo.sh: what serves it, a session that counts, a form that posts, an upload.
session_start();
$_SESSION['visits'] = ($_SESSION['visits'] ?? 0) + 1;
$name = trim((string) ($_POST['name'] ?? ''));
$file = $_FILES['file'] ?? null;
$opcache = function_exists('opcache_get_status') ? opcache_get_status(false) : false;
$rows = [
    'Server' => $_SERVER['SERVER_SOFTWARE'] ?? '',
    'PHP' => PHP_VERSION . ', ' . PHP_SAPI,
    'Pool user' => posix_getpwuid(posix_geteuid())['name'] ?? (string) posix_geteuid(),
    'Worker' => 'process ' . getmypid(),
    'OPcache' => $opcache ? round($opcache['memory_usage']['used_memory'] / 1048576, 1) . ' MiB of this pool alone' : 'off',
    'Visits in this session' => (string) $_SESSION['visits'],
];
header('Content-Type: text/html; charset=utf-8');
?>
<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>fpmpool</title>
<style>
:root { color-scheme: light dark; --line: #8884; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 44rem; margin: 3rem auto; padding: 0 1rem; }
h1 { font-weight: 600; letter-spacing: -.02em; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .4rem .6rem; border-bottom: 1px solid var(--line); font-weight: 400; }
th { width: 40%; opacity: .7; }
form { margin: 1.5rem 0; display: flex; gap: .5rem; flex-wrap: wrap; }
p.said { border-left: 3px solid #4a8; padding-left: .8rem; }
</style>
<h1>It works, through all three parts</h1>
<p>httpd routed this request to <code>mod_fpmpool</code>, which spoke FastCGI over a Unix socket to a worker of <code>fpmpoold</code>.</p>
<table>
<?php foreach ($rows as $key => $value): ?>
<tr><th><?= htmlspecialchars($key) ?><td><?= htmlspecialchars($value) ?>
<?php endforeach ?>
</table>
<form method="post" enctype="multipart/form-data">
<input name="name" placeholder="Your name" value="<?= htmlspecialchars($name) ?>">
<input type="file" name="file">
<button>Send</button>
</form>
<?php if ($name !== ''): ?><p class="said">Hello, <?= htmlspecialchars($name) ?>.</p><?php endif ?>
<?php if ($file && $file['error'] === UPLOAD_ERR_OK): ?>
<p class="said"><?= htmlspecialchars($file['name']) ?>: <?= (int) $file['size'] ?> bytes, sha1 <?= sha1_file($file['tmp_name']) ?></p>
<?php endif ?>
<p><a href="/fpm-status?full">pool status</a> · <a href="/fpm-ping">ping</a> · <a href="stream.php">a page that streams</a></p>
