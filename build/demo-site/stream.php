<?php
// flush() reaches the browser at once: five lines, one each half second.
header('Content-Type: text/plain; charset=utf-8');
header('X-Accel-Buffering: no');
for ($i = 1; $i <= 5; $i++) {
    echo "line $i at ", date('H:i:s'), "\n";
    flush();
    usleep(500000);
}
